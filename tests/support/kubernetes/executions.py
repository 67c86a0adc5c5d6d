"""Programs in containers over a WebSocket: the first byte of a message is its channel (`v4.channel.k8s.io`).

0 is the program's input, 1 and 2 what it says, 3 how it ended, 4 the size of its terminal.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import shutil
import struct
import termios
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.support.kubernetes.answers import Refused, bad_request
from tests.support.kubernetes.logs import chosen
from tests.support.kubernetes.node import Container, Node
from tests.support.kubernetes.web import Exchange, Request
from tests.support.kubernetes.world import Document

SUBPROTOCOL = "v4.channel.k8s.io"
_PIECE = 32768
_FAREWELL_SECONDS = 5
_MOMENT = 0.01
_TEXT = "text/plain; charset=utf-8"
_STDIN, _STDOUT, _STDERR, _STATUS, _SIZE = range(5)
_STREAMS = {_STDIN: "stdin", _STDOUT: "stdout", _STDERR: "stderr"}


async def run(node: Node, pod: Document, exchange: Exchange) -> None:
    """A program, until it ends or the client goes. Raises Refused before the upgrade."""
    request = exchange.request
    name = chosen(pod, request.parameter("container"))
    if "websocket" not in request.headers.get("upgrade", "").lower():
        raise bad_request("Upgrade request required")
    container = node.containers(pod).get(name)
    if container is None or not container.running:
        raise Refused(500, f'container not found ("{name}")'.encode(), _TEXT)
    wanted = [channel for channel in _STREAMS if request.flag(_STREAMS[channel])]
    if not wanted:
        raise Refused(400, b"you must specify at least 1 of stdin, stdout, stderr", _TEXT)
    socket = _Socket(exchange)
    if not await socket.open():
        return
    if outputs := [channel for channel in wanted if channel != _STDIN]:
        await socket.send(outputs[0], b"")
    await _Execution(node, container, request, socket).run()


class _Socket:
    """The WebSocket, on the connection that the exchange has left."""

    def __init__(self, exchange: Exchange) -> None:
        self._request = exchange.request
        self._reader, self._writer = exchange.take_over()
        self._protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=1 << 20)  # type: ignore[list-item]

    async def open(self) -> bool:
        """Shake hands; whether it is open."""
        lines = [f"GET {self._request.target} HTTP/1.1", *(f"{k}: {v}" for k, v in self._request.headers.items())]
        self._protocol.receive_data("\r\n".join([*lines, "", ""]).encode("latin-1"))
        (handshake,) = self._protocol.events_received()
        assert isinstance(handshake, Handshake)
        response = self._protocol.accept(handshake)
        self._protocol.send_response(response)
        await self._flush()
        return response.status_code == 101

    async def send(self, channel: int, data: bytes) -> None:
        """Send a message; waits for the client to take it."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(bytes([channel]) + data)
            await self._flush()

    async def receive(self) -> list[tuple[int, bytes]]:
        """The next messages, channel and content; none when the client has gone."""
        while not self._writer.is_closing() and (data := await self._read()):
            self._protocol.receive_data(data)
            await self._flush()
            found = [each for each in self._protocol.events_received() if isinstance(each, Frame)]
            messages = [each.data for each in found if each.opcode in (Opcode.BINARY, Opcode.TEXT) and each.data]
            if messages:
                return [(each[0], bytes(each[1:])) for each in messages]
        return []

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE)
        except OSError:
            return b""

    async def end(self, status: Document) -> None:
        """Say how it ended, and close."""
        await self.send(_STATUS, json.dumps(status, separators=(",", ":")).encode())
        self._protocol.send_close(1000)
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:  # both sides have said that they close
                self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.drain()


class _Execution:
    def __init__(self, node: Node, container: Container, request: Request, socket: _Socket) -> None:
        self._node = node
        self._container = container
        self._request = request
        self._socket = socket
        self._argv = request.query.get("command", [])
        self._tty = request.flag("tty")
        self._master = -1
        self._input: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            if not self._argv or shutil.which(self._argv[0]) is None:
                self._ready.set()
                await self._socket.end(_not_found(self._argv))
            else:
                await self._run(listening)
            await asyncio.wait({listening}, timeout=_FAREWELL_SECONDS)
        finally:
            listening.cancel()

    async def _run(self, listening: "asyncio.Task[None]") -> None:
        process, outputs = await self._start()
        self._container.programs.add(process.pid)
        self._ready.set()
        telling = asyncio.create_task(self._tell_all(process, outputs))
        await asyncio.wait({listening, telling}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            await self._socket.end(_status(self._argv, telling.result()))
            return
        if self._input is not None:
            self._input.close()  # a program on a terminal hears nothing of it, and lives on
        self._node.keep(telling)

    async def _tell_all(
        self, process: asyncio.subprocess.Process, outputs: list[tuple[int, asyncio.StreamReader]]
    ) -> int:
        """All that it says, and the code it ends with."""
        await asyncio.gather(*(self._tell(channel, output) for channel, output in outputs))
        code = await process.wait()
        self._container.programs.discard(process.pid)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        return code

    async def _start(self) -> tuple[asyncio.subprocess.Process, list[tuple[int, asyncio.StreamReader]]]:
        environment = {"PATH": os.environ["PATH"], **({"TERM": "xterm"} if self._tty else {})}
        if self._tty:
            return await self._start_on_terminal(environment)
        pipe = asyncio.subprocess.PIPE
        wanted = {each: self._request.flag(each) for each in ("stdin", "stdout", "stderr")}
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=pipe if wanted["stdin"] else asyncio.subprocess.DEVNULL,
            stdout=pipe if wanted["stdout"] else asyncio.subprocess.DEVNULL,
            stderr=pipe if wanted["stderr"] else asyncio.subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        self._input = process.stdin
        outputs = [(_STDOUT, process.stdout), (_STDERR, process.stderr)]
        return process, [(channel, output) for channel, output in outputs if output is not None]

    async def _start_on_terminal(
        self, environment: dict[str, str]
    ) -> tuple[asyncio.subprocess.Process, list[tuple[int, asyncio.StreamReader]]]:
        self._master, slave = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                "setsid", "--ctty", *self._argv, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd="/"
            )
        finally:
            os.close(slave)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe: Any = os.fdopen(os.dup(self._master), "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        return process, [(_STDOUT, reader)]

    async def _tell(self, channel: int, output: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):  # a terminal whose program has ended gives EIO
            while data := await output.read(_PIECE):
                await self._socket.send(channel, data)

    async def _listen(self) -> None:
        await self._ready.wait()
        while messages := await self._socket.receive():
            for channel, data in messages:
                if channel == _SIZE and self._master >= 0:
                    size = json.loads(data)
                    packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
                    fcntl.ioctl(self._master, termios.TIOCSWINSZ, packed)
                elif channel == _STDIN and self._request.flag("stdin"):
                    await self._put(data)

    async def _put(self, data: bytes) -> None:
        if self._input is not None:
            with contextlib.suppress(ConnectionError):
                self._input.write(data)
                await self._input.drain()
        while self._master >= 0 and data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:  # the program does not read; reading the terminal has made it so
                await asyncio.sleep(_MOMENT)


def _not_found(argv: list[str]) -> Document:
    reason = f'"{argv[0]}": executable file not found in $PATH: unknown' if argv else "args must not be empty: unknown"
    where = 'failed to exec in container: failed to start exec "0": OCI runtime exec failed: exec failed: '
    message = f"error executing command in container: {where}unable to start container process: exec: {reason}"
    return _failed("InternalError", f"Internal error occurred: {message}", [{"message": message}], code=500)


def _status(argv: list[str], code: int) -> Document:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    code = 128 - code if code < 0 else code
    message = (
        f"command terminated with non-zero exit code: error executing command [{' '.join(argv)}], exit code {code}"
    )
    return _failed("NonZeroExitCode", message, [{"reason": "ExitCode", "message": str(code)}])


def _failed(reason: str, message: str, causes: list[Document], code: int | None = None) -> Document:
    status: Document = {"metadata": {}, "status": "Failure", "message": message, "reason": reason}
    if causes:
        status["details"] = {"causes": causes}
    return {**status, **({"code": code} if code is not None else {})}
