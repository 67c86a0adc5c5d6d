"""What of the surface is about containers, put together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.containers.cri.runtime import PLACES as CRI_PLACES
from appliance.host.containers.cri.runtime import CriRuntime
from appliance.host.containers.docker.client import PLACES
from appliance.host.containers.docker.docker import Docker
from appliance.host.containers.docker.runtime import DockerRuntime
from appliance.host.containers.runtime import Runtimes
from appliance.host.job_status import JobStatuses
from appliance.process.jobs import Jobs
from appliance.system.endpoints_containers import ContainerEndpoints
from appliance.system.endpoints_docker import DockerEndpoints
from appliance.system.endpoints_docker_resources import DockerResourceEndpoints
from appliance.system.live.container_events import ContainerEventsSource
from appliance.system.live.door import Door
from appliance.system.live.endpoints_containers import LiveContainerEndpoints
from appliance.system.live.events import Source
from appliance.threads import Threads


class Containers:
    """The container runtimes, and all that is served of them."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        jobs: Jobs,
        statuses: JobStatuses,
        background: Background,
        docker_socket: Path | None,
        cri_sockets: Sequence[Path],
    ) -> None:
        self._reactor = reactor
        self._background = background
        places = PLACES if docker_socket is None else [docker_socket]
        self._docker = Docker(reactor, threads, jobs, statuses, background, places)
        found = [[path] for path in cri_sockets] or CRI_PLACES
        self._cri = [CriRuntime(reactor, threads, paths) for paths in found]
        self._runtimes = Runtimes([DockerRuntime(self._docker), *self._cri])

    def endpoints(self) -> list[object]:
        """containers/… and docker/…"""
        return [
            ContainerEndpoints(self._reactor, self._runtimes),
            DockerEndpoints(self._reactor, self._docker),
            DockerResourceEndpoints(self._docker),
        ]

    def live_endpoints(self, door: Door, trail: Trail) -> list[object]:
        """/ws/containers/…"""
        return [LiveContainerEndpoints(door, self._runtimes, self._background, trail)]

    def sources(self) -> dict[str, Source]:
        """Channels of /ws/events."""
        return {"container-events": ContainerEventsSource(self._docker.events, self._background)}

    async def stop(self) -> None:
        """Return when the programs that were run in containers have ended."""
        await self._docker.stop()
        for runtime in self._cri:
            await runtime.end()
