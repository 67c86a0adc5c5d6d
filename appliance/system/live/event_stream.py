"""Events on their way to clients: encoded once for all of them, and kept for one that is slow."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

import msgspec

from appliance.background import Background
from appliance.identity.caller import administrator
from appliance.system.live.messages import encode
from appliance.system.live.peer import Peer
from appliance.websocket.frames import prepared

LOST = "EVENTS_LOST"
HELD = 1000
"""Events that wait for a client that does not keep up; what comes then is left out, and the client is told."""
HELD_BYTES = 8 << 20
"""And their bytes at most: an event may be a megabyte, where somebody means harm."""


class Maskable(Protocol):
    """An event that may hold what is for administrators only."""

    def masked(self) -> Self:
        """Without that."""


EventT = TypeVar("EventT", bound=Maskable)


class EventFrames(Generic[EventT]):
    """The last event as it is sent; `message` wraps it."""

    def __init__(self, message: Callable[[EventT], msgspec.Struct]) -> None:
        self._message = message
        self._event: EventT | None = None
        self._frames: dict[bool, bytes] = {}

    def of(self, event: EventT, peer: Peer) -> bytes:
        """`event` as `peer` gets it, masked for those who are no administrators."""
        if event is not self._event:
            self._event, self._frames = event, {}
        whole = administrator.admits(peer.caller)
        if whole not in self._frames:
            self._frames[whole] = prepared(encode(self._message(event if whole else event.masked())))
        return self._frames[whole]


class EventStream:
    """
    Sends what is encoded already, in order. Implements `Stream`.

    Whoever opens it sets `leave`, which ends its source.
    """

    def __init__(self, peer: Peer, background: Background) -> None:
        self.leave: Callable[[], None] = lambda: None
        self._peer = peer
        self._background = background
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._is_closed = False
        self._is_catching_up = False

    def send(self, frame: bytes) -> None:
        """Send an event, now or when its turn comes."""
        if not self._is_catching_up and not self._peer.slow:
            self._peer.send_prepared(frame)
            return
        if len(self._waiting) < HELD and self._size + len(frame) <= HELD_BYTES:
            self._waiting.append(frame)
            self._size += len(frame)
        else:
            self._lost += 1
        if not self._is_catching_up:
            self._is_catching_up = True
            self._background.spawn("sending events to a slow client", self._catch_up())

    def close(self) -> None:
        """Send no more."""
        self._is_closed = True
        self._waiting.clear()
        self.leave()

    async def _catch_up(self) -> None:
        while self._waiting and not self._is_closed:
            await self._peer.drained()
            if self._waiting:
                frame = self._waiting.popleft()
                self._size -= len(frame)
                self._peer.send_prepared(frame)
        if self._lost and not self._is_closed:
            self._peer.error(LOST, f"{self._lost} events were left out: this client is too slow")
            self._lost = 0
        self._is_catching_up = False
