"""The commands that talk to a server from elsewhere, over HTTPS and WebSockets. Knows nothing of the server's code."""
