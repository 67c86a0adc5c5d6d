"""The access log: a JSON line a request, joined and written every half second (a line each would cost 25 µs)."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from appliance.http.call import Call

INTERVAL = 0.5
MAX_PENDING = 20_000


class _Line(msgspec.Struct):
    time: datetime
    type: str
    request: str
    address: str
    caller: str
    method: str
    path: str
    status: int
    bytes: int
    ms: float


class Opening(msgspec.Struct, frozen=True, gc=False):
    """A connection that was a request once."""

    request: str
    address: str
    method: str
    path: str
    started: float


class AccessLog:
    """Collects lines and hands them to `write` in one piece.

    A line holds the path without its query: credentials may stand there. When more lines wait than a slow log can
    take, further ones are counted and left out.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, write: Callable[[bytes], object]) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        """Requests that were answered, by surface ("" before one was found) and status."""
        self._clock = clock
        self._write = write
        self._pending: list[bytes] = []
        self._dropped = 0
        self._encoder = msgspec.json.Encoder()
        self._loop = LoopingCall(self.flush)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to write at intervals."""
        _ = self._loop.start(INTERVAL, now=False).addErrback(
            lambda failure: self._log.failure("the access log stopped", failure=failure)
        )

    def stop(self) -> None:
        """Write what is pending and stop."""
        if self._loop.running:
            self._loop.stop()
        self.flush()

    def add(self, call: Call, status: int, sent: int) -> None:
        """Note a finished request: its status and the bytes of the response's body."""
        now = self._clock.seconds()
        self.counts[call.surface.name if call.surface is not None else "", status] += 1
        self._add(
            _Line(
                datetime.fromtimestamp(now, UTC),
                "access",
                call.id,
                call.address,
                call.caller.name if call.caller is not None else "",
                call.method,
                call.path or call.raw_path.decode("latin-1"),
                status,
                sent,
                round((now - call.started) * 1000, 2),
            )
        )

    def begin(self, call: Call) -> "Opening":
        """What is to be remembered of a request whose connection goes on as something else, for `end`."""
        return Opening(call.id, call.address, call.method, call.path, self._clock.seconds())

    def end(self, opening: "Opening", caller: str, code: int, sent: int) -> None:
        """Note the end of a WebSocket: who it was, the close code (RFC 6455 section 7.4), the bytes of our messages."""
        now = self._clock.seconds()
        self._add(
            _Line(
                datetime.fromtimestamp(now, UTC),
                "websocket",
                opening.request,
                opening.address,
                caller,
                opening.method,
                opening.path,
                code,
                sent,
                round((now - opening.started) * 1000, 2),
            )
        )

    def _add(self, line: _Line) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._dropped += 1
            return
        self._pending.append(self._encoder.encode(line))

    def flush(self) -> None:
        """Write the pending lines now."""
        if not self._pending:
            return
        if self._dropped:
            self._pending.append(b'{"type":"access","dropped":%d}' % self._dropped)
            self._dropped = 0
        self._pending.append(b"")
        block = b"\n".join(self._pending)
        lines, self._pending = len(self._pending) - 1, []
        try:
            self._write(block)
        except (OSError, ValueError):  # a full disk, a closed pipe: the next line tells how many are missing
            self._dropped += lines
