"""Docker as a whole, put together of its parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.background import Background
from appliance.host.containers.docker.client import PLACES, EngineClient
from appliance.host.containers.docker.containers import DockerContainers
from appliance.host.containers.docker.events import DockerEvents
from appliance.host.containers.docker.executions import DockerExecutions
from appliance.host.containers.docker.images import DockerImages
from appliance.host.containers.docker.listing import ContainerListing
from appliance.host.containers.docker.logs import DockerLogs
from appliance.host.containers.docker.networks import DockerNetworks
from appliance.host.containers.docker.pulls import DockerPulls
from appliance.host.containers.docker.volumes import DockerVolumes
from appliance.host.job_status import JobStatuses
from appliance.process.jobs import Jobs
from appliance.threads import Threads


class Docker:
    """The engine at one of `places`. Nothing is loaded or connected before something is asked of it."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        jobs: Jobs,
        statuses: JobStatuses,
        background: Background,
        places: Sequence[Path] = PLACES,
    ) -> None:
        self.client = EngineClient(reactor, places)
        self.listing = ContainerListing(self.client)
        self.containers = DockerContainers(reactor, self.client)
        self.logs = DockerLogs(self.client, self.containers)
        self.images = DockerImages(self.client)
        self.pulls = DockerPulls(reactor, self.client, threads, jobs, statuses, background)
        self.networks = DockerNetworks(self.client)
        self.volumes = DockerVolumes(self.client)
        self.events = DockerEvents(reactor, self.client, background)
        self.executions = DockerExecutions(reactor, self.client, threads)

    async def stop(self) -> None:
        """Return when the programs that were run in containers have ended."""
        await self.executions.stop()
        self.client.close()
