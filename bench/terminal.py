"""
A terminal over TLS: one `cat` of a large file to one WebSocket client, on our server and on ttyd, in turn.

The client of both is the same: it types the command and reads until a marker that the shell prints after the file; the
time counts from the command to the marker. Ours sends the output decoded, as JSON text; ttyd sends the bytes. Where
ttyd is not installed, a bare Autobahn server with a terminal of Twisted's stands in, which sends what it reads. Needs
openssl; whoever runs it needs a log-in shell. All on the loopback interface.
"""

import argparse
import base64
import json
import pwd
import secrets
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import geteuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import (
    HOST,
    ROOT,
    Unusable,
    appliance,
    cpu_seconds,
    free_port,
    load,
    make_certificate,
    memory,
    reset_peak,
    running,
    spread,
)

MB = 1_000_000
LINE = b"The quick brown fox jumps over the lazy dog and 0123456789 again\n"
READY, END = "READY-NOW", "END-OF-FILE"
PATIENCE = 300.0
TOKEN_SECONDS = 3600
SERVE = "--serve"


@dataclass
class Shown:
    """One file: bytes of it a second as the client saw them, the server's CPU seconds, its growth in bytes."""

    rate: float
    cpu: float
    growth: int


class Client:
    """A WebSocket client (RFC 6455) that looks for markers only in what it reads, so as not to be the slow part."""

    def __init__(self, port: int, certificate: Path, path: str, *headers: str) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        plain = socket.create_connection((HOST, port), timeout=PATIENCE)
        self._socket = context.wrap_socket(plain, server_hostname=HOST)
        self._buffer = memoryview(bytearray(1 << 18))
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {HOST}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            *headers,
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.read_until(b" 101 ")

    def send(self, message: bytes, *, text: bool) -> None:
        """Send a message, masked with zeros."""
        length = bytes([0x80 | len(message)]) if len(message) < 126 else struct.pack("!BH", 0xFE, len(message))
        self._socket.sendall(bytes([0x81 if text else 0x82]) + length + bytes(4) + message)

    def read_until(self, marker: bytes) -> None:
        """Read up to `marker`."""
        tail = b""
        while marker not in tail:
            got = self._socket.recv_into(self._buffer)
            if not got:
                raise Unusable("the server has closed the connection")
            tail = tail[-len(marker) :] + bytes(self._buffer[:got])

    def close(self) -> None:
        """End without a farewell."""
        self._socket.close()


@dataclass
class Side:
    """One server: how to connect to a terminal of it and what a key stroke looks like."""

    name: str
    pid: int
    connect: Callable[[], Client]
    typed: Callable[[str], tuple[bytes, bool]]

    def show(self, file: Path, size: int) -> Shown:
        """Have `file` shown."""
        with closing(self.connect()) as client:
            self._type(client, f"stty -echo; echo {_split(READY)}\n")
            client.read_until(READY.encode())
            reset_peak(self.pid)
            before, cpu, start = memory(self.pid, "VmRSS"), cpu_seconds(self.pid), time.monotonic()
            self._type(client, f"cat {file}; echo {_split(END)}\n")
            client.read_until(END.encode())
            seconds, cpu = time.monotonic() - start, cpu_seconds(self.pid) - cpu
            self._type(client, "exit\n")
        return Shown(size / seconds, cpu, memory(self.pid, "VmHWM") - before)

    def _type(self, client: Client, text: str) -> None:
        message, is_text = self.typed(text)
        client.send(message, text=is_text)


def main() -> int:
    """Run the comparison and print it; 1 where it falls short of --require, 2 where it cannot be made."""
    options = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as servers:
            return compare(options, Path(folder), servers)
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=200, help="MB of the file (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each with one of either (default 3)")
    parser.add_argument("--ttyd", default=shutil.which("ttyd"), help="the program (default: where it is on the path)")
    parser.add_argument("--only", action="store_true", help="measure ours, compare nothing")
    parser.add_argument("--require", type=float, default=0.0, help="fail below this ratio of the rates")
    return parser.parse_args()


def compare(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    certificate = make_certificate(folder)
    folder.chmod(0o755)
    file = folder / "text"
    lines = options.size * MB // len(LINE)
    file.write_bytes(LINE * lines)
    size = lines * len(LINE)
    sides = [servers.enter_context(ours(folder, certificate))]
    if not options.only:
        other = ttyd(options.ttyd, folder, certificate) if options.ttyd else autobahn(folder, certificate)
        sides.append(servers.enter_context(other))
    shown: list[list[Shown]] = [[] for _ in sides]
    before = load()
    for number in range(options.rounds):
        turns = list(zip(sides, shown, strict=True))
        for side, results in turns if number % 2 == 0 else reversed(turns):
            results.append(side.show(file, size))
    print(f"one cat of {options.size} MB over TLS, {options.rounds} rounds")
    for side, results in zip(sides, shown, strict=True):
        print(f"{side.name:10} MB/s       {spread([each.rate / MB for each in results], '.1f')}")
        print(f"{'':10} CPU s      {spread([each.cpu for each in results])}")
        print(f"{'':10} growth MB  {spread([each.growth / MB for each in results], '.1f')}")
    print(f"load before {before}, after {load()}")
    if options.only:
        return 0
    ratios = [a.rate / b.rate for a, b in zip(*shown, strict=True)]
    print(f"rate, {sides[0].name} / {sides[1].name}: {spread(ratios)}")
    return 0 if statistics.median(ratios) >= options.require else 1


@contextmanager
def ours(folder: Path, certificate: Path) -> Iterator[Side]:
    """Our server, and a token of whoever runs this: made with the server's own key, in place of a log-in."""
    from twisted.internet.task import Clock

    from appliance.identity.signed_tokens import SignedTokens, load_key

    with appliance(folder, certificate) as (pid, port):
        clock = Clock()
        clock.advance(time.time())
        tokens = SignedTokens(clock, load_key(folder / "state" / "tokens.key"), "appliance:system")
        name = pwd.getpwuid(geteuid()).pw_name
        token, _ = tokens.make(name, secrets.token_hex(8), TOKEN_SECONDS, int(time.time() * 1000))

        def connect() -> Client:
            client = Client(port, certificate, "/ws/terminal", f"Authorization: Bearer {token}")
            client.send(b'{"type":"subscribe","payload":{"cols":80,"rows":24}}', text=True)
            return client

        yield Side("appliance", pid, connect, lambda text: (json.dumps({"type": "input", "data": text}).encode(), True))


@contextmanager
def ttyd(program: str, folder: Path, certificate: Path) -> Iterator[Side]:
    """ttyd (https://github.com/tsl0922/ttyd, protocol.c) with the user's shell."""
    shell = pwd.getpwuid(geteuid()).pw_shell or "/bin/sh"
    port = free_port()
    argv = [
        *(program, "--interface", HOST, "--port", str(port), "--writable", "--ssl", "--ping-interval", "300"),
        *("--ssl-cert", str(certificate), "--ssl-key", str(folder / "key.pem"), shell, "-l"),
    ]
    with running(argv, port, folder / "ttyd.log") as pid:

        def connect() -> Client:
            client = Client(port, certificate, "/ws", "Sec-WebSocket-Protocol: tty")
            client.send(b'{"AuthToken":"","columns":80,"rows":24}', text=False)
            return client

        yield Side("ttyd", pid, connect, lambda text: (b"0" + text.encode(), False))


@contextmanager
def autobahn(folder: Path, certificate: Path) -> Iterator[Side]:
    """The stand-in, a process of its own."""
    port = free_port()
    argv = [sys.executable, str(Path(__file__).resolve()), SERVE, str(port), str(certificate)]
    with running(argv, port, folder / "autobahn.log", {"PYTHONPATH": str(ROOT)}) as pid:
        yield Side("autobahn", pid, lambda: Client(port, certificate, "/"), lambda text: (text.encode(), True))


def serve(port: int, certificate: Path) -> None:
    """A shell on Twisted's own terminal for each socket: what it prints is sent as it comes."""
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.internet import reactor as global_reactor
    from twisted.internet.protocol import ProcessProtocol
    from twisted.internet.ssl import DefaultOpenSSLContextFactory

    reactor: Any = global_reactor
    shell = pwd.getpwuid(geteuid()).pw_shell or "/bin/sh"

    class Screen(ProcessProtocol):
        def __init__(self, socket: "Bare") -> None:
            self._socket = socket

        def childDataReceived(self, childFD: int, data: bytes) -> None:
            self._socket.sendMessage(data, True)

    class Bare(WebSocketServerProtocol):
        transport: Any

        def onOpen(self) -> None:
            self.shell = reactor.spawnProcess(Screen(self), shell, [shell, "-l"], None, usePTY=True)
            self.transport.registerProducer(self.shell, True)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.shell.write(payload)

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            self.shell.loseConnection()

    factory = WebSocketServerFactory()
    factory.protocol = Bare
    key = certificate.with_name("key.pem")
    reactor.listenSSL(port, factory, DefaultOpenSSLContextFactory(str(key), str(certificate)), interface=HOST)
    reactor.run()


def _split(marker: str) -> str:
    """The marker as it is typed, so that its echo is not taken for it."""
    return f"{marker[:3]}''{marker[3:]}"


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main())
