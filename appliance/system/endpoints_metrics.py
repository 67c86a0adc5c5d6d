"""GET /metrics, at the root."""

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from appliance.host.figures import Figures, load_average
from appliance.host.metrics.counters import read_counters
from appliance.host.metrics.filesystems import FileSystems
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Reply
from appliance.system.envelope import NO_STORE
from appliance.system.exposition.authenticator import scraper
from appliance.system.exposition.counted import Counted

if TYPE_CHECKING:
    from appliance.system.exposition.text import Exposition

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class MetricsEndpoints:
    """What a monitoring system asks."""

    routes = Routes(tag="Metrics")

    def __init__(self, clock: IReactorTime, figures: Figures, file_systems: FileSystems, counted: Counted) -> None:
        self._clock = clock
        self._figures = figures
        self._file_systems = file_systems
        self._counted = counted
        self._exposition: Exposition | None = None

    @routes.get("/metrics", who=scraper, produces=MEDIA_TYPE, listed=False)
    async def metrics(self, call: Call) -> Reply:
        """Requests, connections, sockets, jobs, delays, the process and the machine, in OpenMetrics."""
        from appliance.system.exposition.host import Machine
        from appliance.system.exposition.text import Exposition

        mounts, space = await self._file_systems.measure()
        machine = Machine(read_counters(self._clock.seconds()), self._figures.memory(), load_average(), mounts, space)
        if self._exposition is None:
            self._exposition = Exposition(self._counted)
        return Reply(200, self._exposition.render(machine), MEDIA_TYPE, NO_STORE)
