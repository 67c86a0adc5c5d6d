"""Docker as one of several container runtimes."""

from datetime import UTC, datetime

from appliance.host.containers.docker.docker import Docker
from appliance.host.containers.docker.executions import DockerExecution
from appliance.host.containers.docker.inspection import moment
from appliance.host.containers.docker.logs import LogStream
from appliance.host.containers.docker.model import DockerContainer
from appliance.host.containers.docker.wire import InspectedContainer
from appliance.host.containers.model import (
    Container,
    ContainerDetails,
    ContainerImage,
    ExecOptions,
    LogOptions,
    Mount,
    State,
)

_STATES: dict[str, State] = {
    "created": "CONTAINER_CREATED",
    "configured": "CONTAINER_CREATED",
    "initialized": "CONTAINER_CREATED",
    "running": "CONTAINER_RUNNING",
    "paused": "CONTAINER_RUNNING",
    "restarting": "CONTAINER_RUNNING",
    "stopping": "CONTAINER_RUNNING",
    "removing": "CONTAINER_EXITED",
    "exited": "CONTAINER_EXITED",
    "stopped": "CONTAINER_EXITED",
    "dead": "CONTAINER_EXITED",
}
"""The states of Docker, and those that only Podman has, in CRI's words."""


class DockerRuntime:
    """Docker or Podman; implements `Runtime`."""

    names = frozenset(("docker", "podman"))

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    async def name(self) -> str:
        """`docker` or `podman`."""
        return (await self._docker.client.engine()).name

    async def containers(self) -> list[Container]:
        """All containers."""
        name = await self.name()
        return [_container(each, name) for each in await self._docker.listing.containers()]

    async def container(self, id: str) -> ContainerDetails:
        """One container."""
        return _details(await self._docker.containers.inspect(id), await self.name())

    async def log(self, id: str, options: LogOptions) -> LogStream:
        """The log of a container."""
        return await self._docker.logs.open(id, options)

    async def images(self) -> list[ContainerImage]:
        """All images."""
        found = await self._docker.images.images()
        return [ContainerImage(each.id, each.repo_tags, each.repo_digests, each.size) for each in found]

    async def start(self, id: str) -> str:
        """Start a container."""
        return await self._docker.containers.act(id, "start")

    async def stop(self, id: str, patience: int | None) -> str:
        """Stop a container."""
        return await self._docker.containers.act(id, "stop", patience=patience)

    async def remove(self, id: str, *, force: bool) -> str:
        """Remove a container."""
        return await self._docker.containers.remove(id, force=force)

    async def execute(self, id: str, options: ExecOptions) -> DockerExecution:
        """Run a program in a container."""
        return await self._docker.executions.run(id, options)


def _container(found: DockerContainer, runtime: str) -> Container:
    return Container(
        id=found.id,
        name=found.names[0].removeprefix("/") if found.names else "",
        image=found.image,
        state=_STATES.get(found.state.lower(), "CONTAINER_UNKNOWN"),
        created_at=datetime.fromtimestamp(found.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        runtime=runtime,
        status=found.status,
        labels=found.labels,
    )


def _details(found: InspectedContainer, runtime: str) -> ContainerDetails:
    config, state = found.config, found.state
    return ContainerDetails(
        id=found.id,
        name=found.name.removeprefix("/"),
        image=config.image,
        image_id=found.image,
        state=_STATES.get(state.status.lower(), "CONTAINER_UNKNOWN"),
        created_at=found.created,
        started_at=moment(state.started_at),
        finished_at=moment(state.finished_at),
        exit_code=state.exit_code,
        reason="OOMKilled" if state.oom_killed else state.error,
        pid=state.pid,
        command=([found.path] if found.path else []) + (found.args or []),
        env=config.env or [],
        working_dir=config.working_dir,
        mounts=[Mount(each.source, each.destination, not each.rw) for each in found.mounts or []],
        labels=config.labels or {},
        annotations={},
        log_path=found.log_path,
        runtime=runtime,
    )
