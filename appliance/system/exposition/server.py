"""What the server has counted, as OpenMetrics families."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance import __version__
from appliance.reactor_lag import BOUNDS
from appliance.system.exposition.counted import Counted


class ServerCollector(Collector):
    """Asks them at each collection."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """The families."""
        counted = self._counted
        yield InfoMetricFamily("appliance_build", "The version that runs", {"version": __version__})
        requests = CounterMetricFamily(
            "appliance_http_requests", "Requests that were answered", labels=["surface", "status"]
        )
        for (surface, status), count in sorted(counted.requests.items()):
            requests.add_metric([surface, str(status)], count)
        yield requests
        yield GaugeMetricFamily("appliance_connections", "Open connections", counted.limits.open)
        yield CounterMetricFamily(
            "appliance_connections_refused", "Connections over the limits", counted.limits.refused
        )
        yield CounterMetricFamily(
            "appliance_handshakes_timed_out", "TLS handshakes that took too long", counted.limits.timed_out
        )
        yield GaugeMetricFamily("appliance_websockets", "Open WebSockets", counted.sockets())
        running = GaugeMetricFamily("appliance_jobs_running", "Jobs that run now", labels=["kind"])
        for kind in counted.jobs.kinds_running():
            running.add_metric([kind], 1)
        yield running
        ended = CounterMetricFamily(
            "appliance_jobs_ended", "Jobs that have ended since the start", labels=["kind", "outcome"]
        )
        for (kind, succeeded), count in sorted(counted.jobs.endings.items()):
            ended.add_metric([kind, "success" if succeeded else "failure"], count)
        yield ended
        yield self._lag()

    def _lag(self) -> Metric:
        lag = self._counted.lag
        so_far, buckets = 0, []
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], lag.buckets, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        family = HistogramMetricFamily(
            "appliance_reactor_lag_seconds", "How late the event loop came to a timer, asked twice a second"
        )
        family.add_metric([], buckets, lag.total)
        return family
