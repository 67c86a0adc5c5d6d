"""`/ws/metrics`: the machine's figures, every so many seconds."""

from typing import Annotated

import msgspec

from appliance.host.metrics.model import METRICS, Metric
from appliance.system.live.channel import Channel
from appliance.system.live.feed import Feed, Member
from appliance.system.live.messages import Incoming
from appliance.system.live.peer import Peer

Interval = Annotated[int, msgspec.Meta(ge=1, le=60)]
"""Seconds between two samples."""
DEFAULT_INTERVAL = 2


class _Payload(msgspec.Struct):
    metrics: Annotated[list[Metric], msgspec.Meta(max_length=len(METRICS))] | None = None
    interval: Interval | None = None


class Subscribe(msgspec.Struct):
    """`subscribe`; without a list, or with an empty one, all metrics."""

    payload: _Payload | None = None


class MetricsChannel(Channel):
    """One client's subscription; a second one replaces the first."""

    def __init__(self, peer: Peer, feed: Feed) -> None:
        super().__init__(peer)
        self._feed = feed
        self._member: Member | None = None

    async def subscribe(self, message: Incoming) -> None:
        """Begin to send samples."""
        payload = message.decode(Subscribe).payload or _Payload()
        self._leave()
        self._member = Member(
            self.peer, payload.interval or DEFAULT_INTERVAL, frozenset(payload.metrics) if payload.metrics else None
        )
        self._feed.join(self._member)

    async def unsubscribe(self, message: Incoming) -> None:
        """Send no more."""
        self._leave()

    def closed(self) -> None:
        """The client is gone."""
        self._leave()

    def _leave(self) -> None:
        if self._member is not None:
            self._feed.leave(self._member)
            self._member = None
