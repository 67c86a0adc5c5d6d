"""A connection to the engine that is taken over: HTTP up to its answer, then a program's own bytes both ways.

Engine API, "Attach to a container", hijacking: the client asks for an upgrade to `tcp`, the engine answers 101 or 200.
"""

import re
from pathlib import Path
from typing import Any, cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.host.containers.docker.failures import DOCKER, refusal
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.outgoing.body import Body
from appliance.process.eventual import Eventual

_CONNECT_SECONDS = 5.0
_HEAD_LIMIT = 16 * 1024
_REFUSAL_LIMIT = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]{1,9})\r\n", re.IGNORECASE)
_TAKEN_OVER = (101, 200)


@implementer(IPushProducer)
class Hijacked(Body):
    """Reads as a `Body` does. What is written waits for the program; it is the producer of its own input."""

    def __init__(self, reactor: Any, request: bytes) -> None:
        super().__init__(reactor, (ConnectionDone,), DOCKER)
        self._request = request
        self._head = b""
        self._opened: Eventual[int] = Eventual()
        self._refusal_left = 0
        self._is_full = False
        self._writers: list[Deferred[None]] = []

    async def opened(self) -> None:
        """Return when the connection is taken over. Raises what the engine refuses with."""
        status = await self._opened.wait()
        if status not in _TAKEN_OVER:
            raise refusal(status, await self.collect(_REFUSAL_LIMIT))

    def write(self, data: bytes) -> None:
        """Send input to the program; whoever has much of it awaits `writable` in between."""
        if not self._ended:
            self.transport.write(data)

    async def writable(self) -> None:
        """Return when the program has taken what was sent, or when the connection has ended."""
        if self._is_full and not self._ended:
            waiting: Deferred[None] = Deferred(self._writers.remove)
            self._writers.append(waiting)
            await waiting

    def close(self) -> None:
        """Give it up."""
        if not self._ended:
            self.transport.abortConnection()  # what the program does not take would be waited for
        super().close()
        self._release()

    # What Twisted calls

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.registerProducer(self, True)
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """The answer's head, then a refusal of known length, or what the program says."""
        if self._opened.known:
            self._take(data)
            return
        self._head += data
        head, blank, rest = self._head.partition(b"\r\n\r\n")
        found = _STATUS.match(head)
        if len(self._head) > _HEAD_LIMIT or (blank and found is None):
            self._opened.refuse(EngineError("Docker did not answer in HTTP"))
            self.close()
        elif blank and found is not None:
            self._head = b""
            status = int(found[1])
            if status not in _TAKEN_OVER:
                length = _LENGTH.search(head + b"\r\n")
                self._refusal_left = int(length[1]) if length is not None else 0
                if not self._refusal_left:
                    self._finish()
            self._opened.set(status)
            if rest:
                self._take(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self._opened.refuse(DOCKER.broke())
        super().connectionLost(reason)
        self._release()

    def pauseProducing(self) -> None:
        """The program does not take more at the moment."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._is_full = False
        self._release()

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` follows."""

    def _take(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._refusal_left:
            self._refusal_left -= len(data)
            if self._refusal_left <= 0:
                self._finish()

    def _finish(self) -> None:
        """A refusal is complete, though its connection may stay."""
        super().connectionLost(Failure(ConnectionDone()))
        self.transport.loseConnection()

    def _release(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.callback(None)


class _Only(Factory[Hijacked]):
    """Makes no protocol but the one there is."""

    noisy = False

    def __init__(self, protocol: Hijacked) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Hijacked:
        return self._protocol


async def hijack(reactor: Any, path: Path, target: str, content: object) -> Hijacked:
    """Post `content` as JSON to `target` of the engine at `path` and take the connection over.

    Raises `EngineAbsent` for what was not sent, what the engine refuses with, and `EngineError`.
    """
    body = msgspec.json.encode(content)
    head = f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = Hijacked(reactor, head.encode("ascii") + body)
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=_CONNECT_SECONDS)
    try:
        await cast("Deferred[Hijacked]", endpoint.connect(_Only(connection)))
    except ConnectingCancelledError:
        raise CancelledError from None
    except ConnectError as error:
        raise EngineAbsent(f"nothing answers at {path}") from error
    try:
        await connection.opened()
    except BaseException:
        connection.close()
        raise
    return connection
