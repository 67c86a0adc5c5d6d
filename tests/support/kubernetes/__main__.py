"""The double's process: `python -m tests.support.kubernetes FOLDER [PORT]`, with the certificates of pki.py in FOLDER.

It says `listening at PORT`, and ends with its standard input.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path

from tests.support.kubernetes import web
from tests.support.kubernetes.housekeeping import Housekeeping
from tests.support.kubernetes.node import Node
from tests.support.kubernetes.server import Server
from tests.support.kubernetes.world import World


async def _serve(folder: Path, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    world = World()
    node = Node(world)
    Housekeeping(world)
    listening = await web.listen(Server(world, node).handle, context, port)
    sys.stdout.write(f"listening at {listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    try:
        await asyncio.to_thread(sys.stdin.buffer.read)
    finally:
        listening.close()
        node.close()
        os._exit(0)  # a thread that writes to a terminal nobody reads from must not hold the process


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
