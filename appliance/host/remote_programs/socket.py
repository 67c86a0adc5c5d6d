"""
The WebSocket over which a cluster or a runtime runs a program: each message begins with the number of its channel.

Kubernetes, "WebSocket subprotocols for remotecommand": `v4.channel.k8s.io` has input, output, errors, the program's
end as a Status object, and the terminal's size; `v5.channel.k8s.io` also the end of a channel. Autobahn is loaded
with this module, so it is imported when the first program is run.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.host.errors import HostError
from appliance.host.outgoing.peer import UNREADABLE
from appliance.host.remote_programs.place import Opening
from appliance.host.remote_programs.upgrade import NotHttp, UpgradeAnswer
from appliance.process.eventual import Eventual
from appliance.process.terminal import Size

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
INPUT, OUTPUT, ERRORS, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

HELD = 64 * 1024
"""Bytes of output that wait for their reader before the other side is held back."""
PIECE = 32 * 1024
"""Input goes in messages of at most so many bytes."""
_SLICE = 2048
_TURN_SECONDS = 0.005
"""How long messages are taken apart before others get their turn: a read may hold thousands of tiny ones."""
_MESSAGE_LIMIT = 1 << 20
_FAREWELL_SECONDS = 2.0
_CODE = re.compile("[0-9]{1,10}")


class Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct):
    causes: list[Cause] | None = None


class ExecStatus(msgspec.Struct):
    """How a program has ended, or why it has not begun: a Status object."""

    status: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None

    @property
    def exit_code(self) -> int | None:
        """The program's; None where none is named, which is a failure of its own."""
        if self.status == "Success":
            return 0
        causes = self.details.causes if self.details is not None else None
        for cause in causes or ():
            if cause.reason == "ExitCode" and _CODE.fullmatch(cause.message):
                return int(cause.message)
        return None


class _Size(msgspec.Struct, rename="pascal"):
    width: int
    height: int


@implementer(IPushProducer)
class ExecSocket(WebSocketClientProtocol):
    """One program. What is written waits for it; it is the producer of its own input."""

    transport: Any

    def __init__(self, reactor: IReactorTime, opening: Opening) -> None:
        super().__init__()
        self.status: ExecStatus | None = None
        self._reactor = reactor
        self._opening = opening
        self._peer = opening.peer
        self._answer: UpgradeAnswer | None = UpgradeAnswer()
        self._opened: Eventual[None] = Eventual()
        self._unread = bytearray()
        self._again: IDelayedCall | None = None
        self._is_at_work = False
        self._is_paused = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._reader: Deferred[None] | None = None
        self._error: HostError | None = None
        self._ended = False
        self._is_lost = False
        self._is_full = False
        self._writers: list[Deferred[None]] = []

    async def opened(self) -> None:
        """Return when the program is being started. Raises what is refused with."""
        await self._opened.wait()

    async def read(self) -> bytes:
        """What it prints, as soon as there is some; empty at the end. Raises `Unavailable`."""
        if not self._pieces and not self._ended:
            self._reader = Deferred(self._forget_reader)
            await self._reader
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._take_apart()
            return data
        if self._error is not None:
            raise self._error
        return b""

    def write(self, data: bytes) -> None:
        """Type; whoever has much of it awaits `writable` in between."""
        for begin in range(0, len(data), PIECE):
            self._say(INPUT, data[begin : begin + PIECE])

    async def writable(self) -> None:
        """Return when what was typed is on its way, or the connection has ended."""
        if self._is_full and not self._ended:
            waiting: Deferred[None] = Deferred(self._writers.remove)
            self._writers.append(waiting)
            await waiting

    def resize(self, size: Size) -> None:
        """Give the terminal another size."""
        self._say(RESIZE, msgspec.json.encode(_Size(size.columns, size.rows)))

    def close(self) -> None:
        """Give it up; may be called at any time. Who reads is told that this is the end."""
        if self.state == self.STATE_OPEN:
            if self.websocket_protocol_in_use == V5:
                self._say(CLOSE, bytes([INPUT]))
            self.sendClose(1000)
        elif self.state != self.STATE_CLOSING and not self._is_lost:
            self.transport.abortConnection()
        self._pieces.clear()
        self._end(None)

    # What Autobahn and Twisted call

    def onOpen(self) -> None:
        """The handshake is over."""
        self.http_request_data, self.http_response_data = b"", b""  # Autobahn keeps our credentials in it
        if self.websocket_protocol_in_use is None:
            self._fail(self._peer.is_unintelligible("it agreed to no subprotocol"))
            return
        self.transport.registerProducer(self, True)
        self._opened.set(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep output; the end is the last that comes. Channels begin with an empty message."""
        if self._ended or len(payload) < 2:
            return
        if payload[0] in (OUTPUT, ERRORS):
            self._pieces.append(payload[1:])
            self._size += len(payload)
        elif payload[0] == STATUS:
            try:
                self.status = msgspec.json.decode(payload[1:], type=ExecStatus)
            except UNREADABLE as error:
                self._fail(self._peer.is_unintelligible(error))
                return
            self._end(None)
            self.sendClose(1000)

    def dataReceived(self, data: bytes) -> None:
        """The answer to the handshake, then messages."""
        if self._answer is None:
            self._unread += data
            self._take_apart()
            return
        try:
            is_complete = self._answer.feed(data)
        except NotHttp:
            self._fail(self._peer.is_unintelligible("no HTTP"))
            return
        if is_complete:
            answer, self._answer = self._answer, None
            if answer.is_accepted:
                self._unread += answer.whole
                self._take_apart()
            else:
                self._fail(self._refusal(answer))

    def failHandshake(self, reason: str) -> None:
        """A 101 that Autobahn does not like."""
        self._fail(self._peer.is_unintelligible(reason))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or what went wrong."""
        self._is_lost = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        super().connectionLost(reason)
        answer, self._answer = self._answer, None
        if answer is not None and answer.status is not None:  # a refusal that ends with its connection
            self._end(self._refusal(answer))
        elif answer is not None:
            self._end(self._opening.lost(reason.value))
        else:
            self._end(self._peer.broke())

    def pauseProducing(self) -> None:
        """No more is taken at the moment."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """It is again."""
        self._is_full = False
        self._release()

    def stopProducing(self) -> None:
        """The connection is going; `connectionLost` follows."""

    def _refusal(self, answer: UpgradeAnswer) -> HostError:
        return self._opening.refusal(answer.status or 0, answer.body)

    def _say(self, channel: int, data: bytes) -> None:
        if self.state == self.STATE_OPEN and not self._ended:
            self.sendMessage(bytes([channel]) + data, isBinary=True)

    def _take_apart(self) -> None:
        """Give the parser what has come, as long as there is room and time, and read on when it has had it all."""
        if self._again is not None or self._is_at_work:
            return
        self._is_at_work = True
        until = self._reactor.seconds() + _TURN_SECONDS
        try:
            while self._unread and (self._size <= HELD or self._ended) and self._again is None:
                piece = bytes(self._unread[:_SLICE])
                del self._unread[:_SLICE]
                super().dataReceived(piece)
                if self._reactor.seconds() > until:
                    self._again = self._reactor.callLater(0, self._go_on)
        finally:
            self._is_at_work = False
        if bool(self._unread) != self._is_paused:
            self._is_paused = not self._is_paused
            if self._is_paused:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()
        if self._pieces:
            self._wake()

    def _go_on(self) -> None:
        self._again = None
        self._take_apart()

    def _fail(self, error: HostError) -> None:
        self._end(error)
        self.transport.abortConnection()

    def _end(self, error: HostError | None) -> None:
        """Nothing more will come; `error` says why, where that is not as it should be."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        self._opened.refuse(error or self._peer.broke())
        self._wake()
        self._release()
        self._take_apart()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def _forget_reader(self, reader: Deferred[None]) -> None:
        self._reader = None

    def _release(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.callback(None)


class _Headers(dict[str, str]):
    """Headers of which some come more than once, for Autobahn, which asks for no more than `items`."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def items(self) -> Any:
        """All of them."""
        return self._pairs


class ExecSockets(WebSocketClientFactory):
    """Makes the socket of one program."""

    noisy = False

    def __init__(self, reactor: Any, opening: Opening) -> None:
        headers = _Headers(opening.headers)
        super().__init__(opening.url, protocols=[V5, V4], headers=headers, useragent=None, reactor=reactor)
        self.host = opening.host  # Autobahn leaves out the brackets of an address
        self._reactor = reactor
        self._opening = opening
        # No pings: who does not read because the program does not, would not answer them.
        self.setProtocolOptions(
            openHandshakeTimeout=0,
            closeHandshakeTimeout=_FAREWELL_SECONDS,
            serverConnectionDropTimeout=_FAREWELL_SECONDS,
            maxFramePayloadSize=_MESSAGE_LIMIT,
            maxMessagePayloadSize=_MESSAGE_LIMIT,
            autoPingInterval=0,
        )

    def buildProtocol(self, addr: object) -> ExecSocket:
        """The socket."""
        socket = ExecSocket(self._reactor, self._opening)
        socket.factory = self
        return socket
