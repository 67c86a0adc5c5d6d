"""Containers: looked at, made, started and stopped, removed."""

import re
from typing import Any, Literal

from appliance.host.containers.docker import inspection
from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.creation import NewContainer, creation
from appliance.host.containers.docker.model import DockerContainerDetails, DockerStats
from appliance.host.containers.docker.names import check_name
from appliance.host.containers.docker.wire import ContainerStats, CreatedContainer, InspectedContainer
from appliance.host.errors import Invalid
from appliance.process.reactor import sleep

Action = Literal["start", "stop", "restart", "kill", "pause", "unpause"]

PATIENCE_LIMIT = 3600
"""Seconds that a container may at most be given to stop by itself."""
_SIGNAL = re.compile(r"(?:SIG)?[A-Z][A-Z0-9+-]{1,11}|[1-9][0-9]?")
_CHANGE_SECONDS = 120.0
"""How long an engine may take over a change, beside what the container is given."""
_OWN_PATIENCE = 480.0
"""Seconds that are allowed for a container's own setting, which is 10 where it has none."""
_BETWEEN_SAMPLES = 1.0
_UNTOUCHED = 304
_DONE: dict[str, tuple[str, str]] = {
    "start": ("started", "is running already"),
    "stop": ("stopped", "is stopped already"),
    "restart": ("restarted", ""),
    "kill": ("killed", ""),
    "pause": ("paused", ""),
    "unpause": ("unpaused", ""),
}


class DockerContainers:
    """The engine's containers. All methods raise `EngineError`, and `Unknown` for a container that is not there."""

    def __init__(self, reactor: Any, client: EngineClient) -> None:
        self._reactor = reactor
        self._client = client

    async def inspect(self, id: str) -> InspectedContainer:
        """What the engine tells of a container. Raises `Invalid` for what cannot be its name or id."""
        check_name("id", id)
        return (await self._client.call("GET", f"/containers/{segment(id)}/json")).decode(InspectedContainer)

    async def details(self, id: str) -> DockerContainerDetails:
        """A container, looked at closely."""
        return inspection.details(await self.inspect(id))

    async def stats(self, id: str) -> DockerStats:
        """What a container uses; takes a second or two, for the engine compares two moments."""
        check_name("id", id)
        found = await self._sample(id)
        if not inspection.lacks_earlier(found):
            return inspection.usage(id, found)
        await sleep(self._reactor, _BETWEEN_SAMPLES)
        return inspection.usage(id, await self._sample(id), found)

    async def create(self, new: NewContainer) -> tuple[str, list[str]]:
        """Make a container without starting it: its id, and what the engine warns of. Raises `Invalid`, `Conflict`."""
        content = creation(new)
        query = {"name": new.name} if new.name else None
        answer = await self._client.call("POST", "/containers/create", query, json=content, seconds=_CHANGE_SECONDS)
        made = answer.decode(CreatedContainer)
        return made.id, made.warnings or []

    async def act(self, id: str, action: Action, *, patience: int | None = None, signal: str | None = None) -> str:
        """Do something with a container and return what was done, in words.

        `patience` is the number of seconds it may take to stop by itself before it is killed (its own setting where
        None), `signal` what `kill` sends. Starting what runs and stopping what does not is no error. Raises `Invalid`,
        and `Conflict` for what its state does not allow.
        """
        check_name("id", id)
        query = {}
        if patience is not None:
            if not 0 <= patience <= PATIENCE_LIMIT:
                raise Invalid("timeout", f"0 to {PATIENCE_LIMIT} seconds")
            query["t"] = str(patience)
        if signal is not None:
            if _SIGNAL.fullmatch(signal) is None:
                raise Invalid("signal", "the name or number of a signal, as SIGTERM or 15")
            query["signal"] = signal
        seconds = _CHANGE_SECONDS
        if action in ("stop", "restart"):
            seconds += _OWN_PATIENCE if patience is None else patience
        answer = await self._client.call("POST", f"/containers/{segment(id)}/{action}", query, seconds=seconds)
        done, already = (f"was sent {signal}", "") if signal is not None else _DONE[action]
        return f"Container {id} {already if answer.status == _UNTOUCHED else done}"

    async def remove(self, id: str, *, force: bool = False, volumes: bool = False) -> str:
        """Remove a container, with `force` a running one, with `volumes` its nameless volumes. Raises `Conflict`."""
        check_name("id", id)
        query = {"force": "1" if force else "0", "v": "1" if volumes else "0"}
        await self._client.call("DELETE", f"/containers/{segment(id)}", query, seconds=_CHANGE_SECONDS)
        return f"Container {id} removed"

    async def _sample(self, id: str) -> ContainerStats:
        answer = await self._client.call("GET", f"/containers/{segment(id)}/stats", {"stream": "false"})
        # Podman says nothing of one that does not run.
        return answer.decode(ContainerStats) if answer.body.strip() else ContainerStats()
