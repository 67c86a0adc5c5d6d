"""The machine's figures of the last hour."""

from typing import Annotated

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.host.errors import Unavailable
from appliance.host.metrics.history import INTERVAL, MINUTES, History
from appliance.host.metrics.model import Metric
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import reader


class HistoryQuery(msgspec.Struct):
    """Which metric, and how far back."""

    metric: Metric
    minutes: Annotated[int, msgspec.Meta(ge=1, le=MINUTES)] = MINUTES


class HistoryEntry(msgspec.Struct):
    """A sample: `data` is what `/ws/metrics` sends of this metric."""

    timestamp: str
    data: dict[str, object]


class MetricHistory(msgspec.Struct):
    """The samples, the oldest first; `interval` in seconds."""

    metric: Metric
    interval: int
    samples: list[HistoryEntry]


class HistoryEndpoints:
    """GET system/metrics/history."""

    routes = Routes(prefix="/system/metrics", tag="System")

    def __init__(self, clock: IReactorTime, history: History | None) -> None:
        """Without a history there is a 503."""
        self._clock = clock
        self._history = history

    @routes.get("/history", reply=MetricHistory, who=reader, query=HistoryQuery, statuses=(503,))
    async def history(self, call: Call, query: HistoryQuery) -> msgspec.Raw:
        """One metric over the last minutes, at most an hour."""
        if self._history is None:
            raise Unavailable("The history is switched off ([system] metrics_history)")
        entries = self._history.since(query.metric, self._clock.seconds() - 60 * query.minutes)
        head = b'{"metric":"%b","interval":%d,"samples":[' % (query.metric.encode(), INTERVAL)
        return msgspec.Raw(b"".join((head, b",".join(entries), b"]}")))
