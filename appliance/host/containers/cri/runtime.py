"""containerd, CRI-O or the like as one of several container runtimes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.host.containers.cri import telling
from appliance.host.containers.cri.client import ANSWER_SECONDS, CriClient
from appliance.host.containers.cri.executions import ContainerPlace
from appliance.host.containers.cri.log import CriLog
from appliance.host.containers.docker.names import check_name
from appliance.host.containers.model import Container, ContainerDetails, ContainerImage, ExecOptions, LogOptions, State
from appliance.host.errors import Conflict, Invalid, Unavailable, Unknown
from appliance.host.remote_programs.executions import RemoteExecution, RemoteExecutions
from appliance.threads import Threads

PLACES: Sequence[Sequence[Path]] = (
    (Path("/run/containerd/containerd.sock"), Path("/var/run/containerd/containerd.sock")),
    (Path("/run/crio/crio.sock"), Path("/var/run/crio/crio.sock")),
    (Path("/run/k3s/containerd/containerd.sock"),),
)
"""Where containerd listens, CRI-O, and the containerd that K3s brings. A /var/run of its own is rare by now."""

_WHOLE_ID = 64
_CHANGE_SECONDS = 120.0
"""How long a runtime may take over a change, beside what the container is given."""
_USUAL_PATIENCE = 10
_LOOK_SECONDS = 2.0
"""How long a log that is followed waits for a runtime to say whether its container runs."""


class CriRuntime:
    """The runtime at the first socket there is of `places`; implements `Runtime`."""

    names = frozenset(("containerd", "cri-o"))

    def __init__(self, reactor: Any, threads: Threads, places: Sequence[Path]) -> None:
        self._reactor = reactor
        self._threads = threads
        self._client = CriClient(reactor, threads, places)
        self._executions = RemoteExecutions(reactor, threads)

    async def name(self) -> str:
        """What it calls itself."""
        return await self._client.name()

    async def containers(self) -> list[Container]:
        """All containers."""
        name = await self.name()
        return await self._threads.run(telling.containers, await self._client.call("ListContainers"), name)

    async def container(self, id: str) -> ContainerDetails:
        """One container."""
        name = await self.name()
        found = await self._client.call("ContainerStatus", container_id=await self._whole(id), verbose=True)
        return await self._threads.run(telling.details, found, name)

    async def log(self, id: str, options: LogOptions) -> CriLog:
        """The log of a container, from the file that the runtime names: the one it writes now, none that it left."""
        whole = await self._whole(id)
        path = (await self._client.call("ContainerStatus", container_id=whole)).status.log_path
        if not path:
            raise Unknown(f"Container {id} keeps no log")
        log = CriLog(self._reactor, self._threads, path, options, lambda: self._may_write(whole))
        try:
            await log.begin()
        except BaseException:  # whoever asked may have gone
            log.close()
            raise
        return log

    async def images(self) -> list[ContainerImage]:
        """All images."""
        return await self._threads.run(telling.images, await self._client.call("ListImages"))

    async def start(self, id: str) -> str:
        """Start a container that has not run yet: one that has ended is not started again by this interface."""
        whole = await self._whole(id)
        match await self._state(whole):
            case "CONTAINER_RUNNING":
                return f"Container {id} is running already"
            case "CONTAINER_EXITED":
                raise Conflict(f"Container {id} has ended: its runtime starts a container once, and then another one")
        await self._client.call("StartContainer", _CHANGE_SECONDS, container_id=whole)
        return f"Container {id} started"

    async def stop(self, id: str, patience: int | None) -> str:
        """Stop a container."""
        whole = await self._whole(id)
        if await self._state(whole) in ("CONTAINER_CREATED", "CONTAINER_EXITED"):
            return f"Container {id} is stopped already"
        timeout = _USUAL_PATIENCE if patience is None else patience
        await self._client.call("StopContainer", _CHANGE_SECONDS + timeout, container_id=whole, timeout=timeout)
        return f"Container {id} stopped"

    async def remove(self, id: str, *, force: bool) -> str:
        """Remove a container.

        The interface removes also what runs and what is not there, so that its state is asked before: one that is
        started in between is removed.
        """
        whole = await self._whole(id)
        running = (
            await self._state(whole) == "CONTAINER_RUNNING"
        )  # also whether it is there: that is not refused either
        if running and not force:
            raise Conflict(f"Container {id} is running: stop it, or remove it with force")
        await self._client.call("RemoveContainer", _CHANGE_SECONDS, container_id=whole)
        return f"Container {id} removed"

    async def execute(self, id: str, options: ExecOptions) -> RemoteExecution:
        """Run a program in a container, as the user of that: the interface knows no other."""
        whole = await self._whole(id)
        if await self._state(whole) != "CONTAINER_RUNNING":
            raise Conflict(f"Container {id} is not running")
        return await self._executions.run(ContainerPlace(self._reactor, self._client, whole), options)

    async def end(self) -> None:
        """Let go of the connection, for good, when the programs that were run have ended."""
        await self._executions.stop()
        self._client.close()

    async def _may_write(self, whole: str) -> bool:
        """Whether a container may still print something; one whose runtime cannot be asked may."""
        try:
            return await self._state(whole, _LOOK_SECONDS) != "CONTAINER_EXITED"
        except Unknown:
            return False
        except Unavailable:
            return True

    async def _state(self, whole: str, seconds: float = ANSWER_SECONDS) -> State:
        answer = await self._client.call("ContainerStatus", seconds, container_id=whole)
        return telling.state(answer.status.state)

    async def _whole(self, id: str) -> str:
        """The whole id of the container of which this is the id, its beginning, or the name. Raises `Unknown`."""
        check_name("id", id)
        if len(id) == _WHOLE_ID:
            return id
        answer = await self._client.call("ListContainers")
        return await self._threads.run(_only, answer, id)


def _only(answer: Any, id: str) -> str:
    """Of several of a name, as are left by restarts, the one that runs is meant."""
    named = [each for each in answer.containers if each.metadata.name == id]
    running = [each for each in named if telling.state(each.state) == "CONTAINER_RUNNING"]
    for found in (
        [each for each in answer.containers if each.id == id],
        running if len(running) == 1 else named,
        [each for each in answer.containers if each.id.startswith(id)],
    ):
        if len(found) > 1:
            raise Invalid("id", f"{len(found)} containers are meant by {id}: give more of an id")
        if found:
            return str(found[0].id)
    raise Unknown(f"No such container: {id}")
