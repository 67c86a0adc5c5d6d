"""Logs of pods' containers."""

from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.host.kubernetes.client import ClusterClient
from appliance.host.kubernetes.kinds import PODS
from appliance.host.kubernetes.names import check_label
from appliance.host.kubernetes.objects import path_of
from appliance.host.outgoing.body import Body

_ACCEPT = "*/*"  # the API answers 406 to text/plain alone


@dataclass(frozen=True, slots=True)
class PodLogOptions:
    """Which lines: the last `lines` (None for all), those since then (seconds since 1970), of this container (empty:
    the only one), of its last run before this one."""

    container: str = ""
    lines: int | None = None
    since: float | None = None
    timestamps: bool = False
    follow: bool = False
    previous: bool = False


class PodLogs:
    """Opens logs."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    async def open(self, namespace: str, pod: str, options: PodLogOptions) -> Body:
        """The log of a container, for the caller to close. Raises `Invalid`, and what the client raises."""
        path = f"{path_of(PODS, namespace, pod)}/log"
        query = {"follow": _flag(options.follow), "previous": _flag(options.previous)}
        query["timestamps"] = _flag(options.timestamps)
        if options.container:
            query["container"] = check_label("container", options.container)
        if options.lines is not None:
            query["tailLines"] = str(options.lines)
        if options.since is not None:
            query["sinceTime"] = datetime.fromtimestamp(options.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return await self._client.open("GET", path, query, accept=_ACCEPT)


def _flag(value: bool) -> str:
    return "true" if value else "false"
