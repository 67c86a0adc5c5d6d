"""Makes a cluster reachable in a machine of `tests.support.machine`, whose 127.0.0.1 is its own.

A socket listens inside, at the cluster's own port, so that its kubeconfigs hold there as well; what comes in is
carried to the cluster outside.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.support.machine import Machine

_PIECE = 65536
_LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as listening:
    socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"."], [listening.fileno()])
"""


@contextlib.contextmanager
def passage(machine: Machine, port: int) -> Iterator[None]:
    """Carry connections to 127.0.0.1:PORT inside to the same port outside."""
    loop = asyncio.new_event_loop()
    ended = loop.create_future()
    listening = _listen_inside(machine, port)
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(listening, port, ended),), daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set_result, None)
        thread.join(30)
        loop.close()


def _listen_inside(machine: Machine, port: int) -> socket.socket:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = [*machine.prefix, sys.executable, "-S", "-c", _LISTEN, str(theirs.fileno()), str(port)]
        subprocess.run(argv, pass_fds=[theirs.fileno()], timeout=60, check=True)
        (descriptor,) = socket.recv_fds(ours, 1, 1)[1]
    return socket.socket(fileno=descriptor)


async def _serve(listening: socket.socket, port: int, ended: "asyncio.Future[None]") -> None:
    carrying: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_carry(reader, writer, port))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    server = await asyncio.start_server(accepted, sock=listening, limit=_PIECE)
    await ended
    server.close()
    for task in list(carrying):
        task.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Both ways, until both have ended or one has failed."""
    with contextlib.suppress(OSError):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.transport.abort()
            writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_PIECE):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
