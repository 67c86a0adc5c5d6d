"""Who counts what in this server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.http.connections import ConnectionLimits
from appliance.process.jobs import Jobs
from appliance.reactor_lag import ReactorLag


@dataclass(frozen=True)
class Counted:
    """Who counts what: requests by surface and status, connections, WebSockets, jobs, the reactor's delays."""

    requests: Mapping[tuple[str, int], int]
    limits: ConnectionLimits
    sockets: Callable[[], int]
    jobs: Jobs
    lag: ReactorLag
