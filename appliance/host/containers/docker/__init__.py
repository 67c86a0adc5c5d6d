"""Docker, and what speaks as Docker does (Podman): the Engine API over a Unix socket.

https://docs.docker.com/reference/api/engine/
"""
