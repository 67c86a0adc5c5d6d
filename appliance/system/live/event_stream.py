"""Events on their way to one client, who may be slow."""

from collections import deque
from collections.abc import Callable

from appliance.background import Background
from appliance.system.live.peer import Peer

LOST = "EVENTS_LOST"
HELD = 1000
"""Events that wait for a client that does not keep up; what comes then is left out, and the client is told."""
HELD_BYTES = 8 << 20
"""And their bytes at most: an event may be a megabyte, where somebody means harm."""


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
