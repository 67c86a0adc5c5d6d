"""`/ws/events`: the one socket of a user interface, on which it asks for several kinds of events by name."""

from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec

from appliance.identity.caller import Permission, reader
from appliance.system.live.channel import Channel
from appliance.system.live.feed import Feed, Member
from appliance.system.live.messages import INVALID, BadMessage, Incoming
from appliance.system.live.metrics import DEFAULT_INTERVAL, Interval
from appliance.system.live.peer import Peer

UNKNOWN = "UNKNOWN_CHANNEL"
LIMIT = 16
"""Channels that one socket may have open."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class Stream(Protocol):
    """Events on their way to one client."""

    def close(self) -> None:
        """Send no more; called once."""


class Source(Protocol):
    """One kind of events. `who` may ask for them."""

    who: Permission

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send events to `peer`.

        `argument` is what stands behind a colon in the channel's name ("" where there is none); `message` is the
        subscription, whose `payload.filters` the source decodes for itself. Raises as a `Channel`'s methods may.
        """


class _Payload(msgspec.Struct):
    channel: Name


class Subscribe(msgspec.Struct):
    """`subscribe`, as far as all sources share it."""

    payload: _Payload


class _MaybePayload(msgspec.Struct):
    channel: Name | None = None


class Unsubscribe(msgspec.Struct):
    """`unsubscribe`: one channel, or all of them where none is named."""

    payload: _MaybePayload | None = None


class EventsChannel(Channel):
    """One client's open streams, by the names it asked with.

    Asking again replaces what was asked before, unless it asks for what there cannot be.
    """

    def __init__(self, peer: Peer, sources: Mapping[str, Source]) -> None:
        super().__init__(peer)
        self._sources = sources
        self._streams: dict[str, Stream] = {}
        self._is_closed = False

    async def subscribe(self, message: Incoming) -> None:
        """Open a stream."""
        name = message.decode(Subscribe).payload.channel
        kind, _, argument = name.partition(":")
        source = self._sources.get(kind)
        if source is None:
            raise BadMessage(UNKNOWN, f"There is no channel {kind!r}; there are {', '.join(sorted(self._sources))}")
        if not source.who.admits(self.peer.caller):
            raise BadMessage("PERMISSION_DENIED", "Permission denied")
        if name not in self._streams and len(self._streams) >= LIMIT:
            raise BadMessage(INVALID, f"More than {LIMIT} channels")
        stream = await source.open(self.peer, argument, message)
        self._close(name)
        if self._is_closed:  # meanwhile
            stream.close()
        else:
            self._streams[name] = stream

    async def unsubscribe(self, message: Incoming) -> None:
        """Close a stream, or all."""
        payload = message.decode(Unsubscribe).payload
        if payload is not None and payload.channel is not None:
            self._close(payload.channel)
        else:
            self._close_all()

    def closed(self) -> None:
        """The client is gone."""
        self._is_closed = True
        self._close_all()

    def _close(self, name: str) -> None:
        stream = self._streams.pop(name, None)
        if stream is not None:
            stream.close()

    def _close_all(self) -> None:
        for name in list(self._streams):
            self._close(name)


class _MetricsFilters(msgspec.Struct):
    interval: Interval | None = None


class _MetricsPayload(msgspec.Struct):
    filters: _MetricsFilters | None = None


class _MetricsSubscribe(msgspec.Struct):
    payload: _MetricsPayload


class MetricsSource:
    """The channel `metrics`: all figures in one event."""

    who = reader

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send samples, every `filters.interval` seconds."""
        if argument:
            raise BadMessage(UNKNOWN, "The channel metrics takes nothing behind its name")
        filters = message.decode(_MetricsSubscribe).payload.filters or _MetricsFilters()
        member = Member(peer, filters.interval or DEFAULT_INTERVAL)
        self._feed.join(member)
        return _FeedStream(self._feed, member)


class _FeedStream:
    def __init__(self, feed: Feed, member: Member) -> None:
        self._feed = feed
        self._member = member

    def close(self) -> None:
        self._feed.leave(self._member)
