"""A program in a pod, from outside: a WebSocket client of one thread, for TLS of Python 3.11 takes no two at once."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.support.kubernetes.cluster import Cluster

SUBPROTOCOL: Any = "v4.channel.k8s.io"
_SECONDS = 60
_PIECE = 65536


class Program:
    """What is heard of it is kept by channel; `until` and `end` wait for more."""

    def __init__(self, connection: ssl.SSLSocket, protocol: ClientProtocol) -> None:
        self.heard: dict[int, bytes] = {}
        self.messages: list[tuple[int, int]] = []  # channel and length of each
        self._connection = connection
        self._protocol = protocol
        self._message = b""

    def open(self, headers: dict[str, str]) -> Response:
        """Shake hands; the server's answer."""
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()
        while not (events := self._receive()):
            pass
        response, *frames = events  # the first frames may come in one piece with it
        assert isinstance(response, Response)
        for frame in frames:
            self._take(frame)
        return response

    def send(self, channel: int, data: bytes) -> None:
        """Send a message."""
        self._protocol.send_binary(bytes([channel]) + data)
        self._flush()

    def take(self) -> bool:
        """Wait for messages; false where the server has closed."""
        before = len(self.messages)
        while len(self.messages) == before:
            events = self._receive()
            if not events and self._protocol.close_rcvd is not None:
                return False
            for event in events:
                self._take(event)
        return True

    def _take(self, frame: Any) -> None:
        if isinstance(frame, Frame) and frame.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            self._message += frame.data
            if frame.fin:
                channel, message = self._message[0], self._message[1:]
                self.heard[channel] = self.heard.get(channel, b"") + message
                self.messages.append((channel, len(message)))
                self._message = b""

    def until(self, channel: int, text: bytes) -> None:
        """Wait until a channel has said something."""
        while text not in self.heard.get(channel, b""):
            assert self.take(), self.heard

    def end(self) -> Any:
        """How it ended: the Status, after which the server closes."""
        while self.take():
            pass
        assert self._protocol.close_code == 1000
        return json.loads(self.heard[3])

    def _receive(self) -> list[Any]:
        data = self._connection.recv(_PIECE)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        events = list(self._protocol.events_received())
        assert data or events or self._protocol.close_rcvd is not None, "cut off"
        return events

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._connection.sendall(data)


@contextlib.contextmanager
def program(cluster: Cluster, namespace: str, pod: str, *command: str, **query: str) -> Iterator[Program]:
    """Start a program, and hang up at the end."""
    pairs = [*(("command", each) for each in command), *query.items()]
    wanted = "&".join(f"{name}={quote(value)}" for name, value in pairs)
    uri = f"wss://127.0.0.1:{cluster.port}/api/v1/namespaces/{namespace}/pods/{pod}/exec?{wanted}"
    context = ssl.create_default_context(cafile=str(cluster.authority))
    with (
        socket.create_connection(("127.0.0.1", cluster.port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        protocol = ClientProtocol(parse_uri(uri), subprotocols=[SUBPROTOCOL], max_size=1 << 20)
        found = Program(connection, protocol)
        response = found.open(cluster.headers("admin"))
        assert response.status_code == 101, response
        assert protocol.subprotocol == SUBPROTOCOL
        yield found
