"""The channel `container-events` on `/ws/events`: what happens to containers, and to what they are made of."""

from collections import deque
from collections.abc import Callable
from typing import Annotated

import msgspec

from appliance.background import Background
from appliance.host.containers.docker.events import ContainerEvent, DockerEvents, Type
from appliance.identity.caller import administrator, reader
from appliance.system.live.events import UNKNOWN, Stream
from appliance.system.live.messages import BadMessage, Incoming, encode
from appliance.system.live.peer import Peer
from appliance.websocket.frames import prepared

LOST = "EVENTS_LOST"
HELD = 1000
"""Events that wait for a client that does not keep up; what comes then is left out, and the client is told."""

_Words = Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)]


class Filters(msgspec.Struct):
    """Which events: of containers where no `type` is named; all where nothing else is."""

    type: Annotated[list[Type], msgspec.Meta(max_length=8)] | None = None
    action: _Words | None = None
    container: _Words | None = None

    def admit(self, event: ContainerEvent) -> bool:
        """Whether this one is wanted."""
        return (
            event.type in (self.type or ("container",))
            and (not self.action or event.action.partition(":")[0] in self.action)
            and (not self.container or event.id in self.container or event.name in self.container)
        )


class _Payload(msgspec.Struct):
    filters: Filters | None = None


class _Subscribe(msgspec.Struct):
    payload: _Payload


class EventMessage(msgspec.Struct, tag_field="type", tag="event"):
    """An event as clients get it."""

    payload: ContainerEvent


class ContainerEventsSource:
    """Hands the engine's events to those who have asked; each is encoded once for all of them."""

    who = reader

    def __init__(self, events: DockerEvents, background: Background) -> None:
        self._events = events
        self._background = background
        self._encoded: tuple[ContainerEvent, dict[bool, bytes]] | None = None

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send events."""
        if argument:
            raise BadMessage(UNKNOWN, "The channel container-events takes nothing behind its name")
        filters = message.decode(_Subscribe).payload.filters or Filters()
        stream = _Stream(peer, filters, self._frame, self._background)
        stream.leave = await self._events.listen(stream.tell)
        return stream

    def _frame(self, event: ContainerEvent, whole: bool) -> bytes:
        if self._encoded is None or self._encoded[0] is not event:
            self._encoded = event, {}
        frames = self._encoded[1]
        if whole not in frames:
            frames[whole] = prepared(encode(EventMessage(event if whole else event.masked())))
        return frames[whole]


class _Stream:
    """Events on their way to one client, who may be slow."""

    def __init__(
        self, peer: Peer, filters: Filters, frame: Callable[[ContainerEvent, bool], bytes], background: Background
    ) -> None:
        self.leave: Callable[[], None] = lambda: None
        self._peer = peer
        self._filters = filters
        self._frame = frame
        self._background = background
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._is_closed = False
        self._is_catching_up = False

    def tell(self, event: ContainerEvent) -> None:
        """Something has happened."""
        if not self._filters.admit(event):
            return
        if not self._is_catching_up and not self._peer.slow:
            self._peer.send_prepared(self._frame(event, administrator.admits(self._peer.caller)))
            return
        if len(self._waiting) < HELD:
            self._waiting.append(self._frame(event, administrator.admits(self._peer.caller)))
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
                self._peer.send_prepared(self._waiting.popleft())
        if self._lost and not self._is_closed:
            self._peer.error(LOST, f"{self._lost} events were left out: this client is too slow")
            self._lost = 0
        self._is_catching_up = False
