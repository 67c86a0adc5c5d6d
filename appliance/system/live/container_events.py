"""The channel `container-events` on `/ws/events`: what happens to containers, and to what they are made of."""

from typing import Annotated

import msgspec

from appliance.background import Background
from appliance.host.containers.docker.events import ContainerEvent, DockerEvents, Type
from appliance.identity.caller import reader
from appliance.system.live.event_stream import EventFrames, EventStream
from appliance.system.live.events import UNKNOWN, Stream
from appliance.system.live.messages import BadMessage, Incoming
from appliance.system.live.peer import Peer

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
        self._frames = EventFrames(EventMessage)

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send events."""
        if argument:
            raise BadMessage(UNKNOWN, "The channel container-events takes nothing behind its name")
        filters = message.decode(_Subscribe).payload.filters or Filters()
        stream = EventStream(peer, self._background)

        def tell(event: ContainerEvent) -> None:
            if filters.admit(event):
                stream.send(self._frames.of(event, peer))

        stream.leave = await self._events.listen(tell)
        return stream
