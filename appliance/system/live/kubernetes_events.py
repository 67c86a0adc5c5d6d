"""The channels `k8s-events` and `k8s-events:NAMESPACE` on `/ws/events`: what a cluster tells of what happens in it."""

from typing import Annotated, Literal

import msgspec

from appliance.background import Background
from appliance.host.kubernetes.events import Action, ClusterEvent
from appliance.host.kubernetes.names import check_label
from appliance.host.kubernetes.watch import ClusterEvents
from appliance.identity.caller import reader
from appliance.system.live.event_stream import EventFrames, EventStream
from appliance.system.live.events import Stream
from appliance.system.live.messages import Incoming
from appliance.system.live.peer import Peer

_Words = Annotated[list[Annotated[str, msgspec.Meta(max_length=253)]], msgspec.Meta(max_length=64)]


class Filters(msgspec.Struct):
    """Which events: all where nothing is named. `kind` and `name` are those of what an event is about."""

    action: Annotated[list[Action], msgspec.Meta(max_length=8)] | None = None
    type: Annotated[list[Literal["Normal", "Warning"]], msgspec.Meta(max_length=8)] | None = None
    reason: _Words | None = None
    kind: _Words | None = None
    name: _Words | None = None

    def admit(self, event: ClusterEvent) -> bool:
        """Whether this one is wanted."""
        return (
            (not self.action or event.action in self.action)
            and (not self.type or event.type in self.type)
            and (not self.reason or event.reason in self.reason)
            and (not self.kind or event.object.kind in self.kind)
            and (not self.name or event.object.name in self.name)
        )


class _Payload(msgspec.Struct):
    filters: Filters | None = None


class _Subscribe(msgspec.Struct):
    payload: _Payload


class EventMessage(msgspec.Struct, tag_field="type", tag="event"):
    """An event as clients get it."""

    payload: ClusterEvent


class KubernetesEventsSource:
    """Hands a cluster's events to those who have asked; each is encoded once for all of them."""

    who = reader

    def __init__(self, events: ClusterEvents, background: Background) -> None:
        self._events = events
        self._background = background
        self._frames = EventFrames(EventMessage)

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send events, of the namespace `argument` where there is one."""
        namespace = check_label("namespace", argument) if argument else ""
        filters = message.decode(_Subscribe).payload.filters or Filters()
        stream = EventStream(peer, self._background)

        def tell(event: ClusterEvent) -> None:
            if filters.admit(event):
                stream.send(self._frames.of(event, peer))

        stream.leave = await self._events.listen(namespace, tell)
        return stream
