"""The path of the WebSocket into a container."""

from typing import Annotated

import msgspec

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.containers.docker.names import NAME
from appliance.host.containers.runtime import Runtimes
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Upgrade
from appliance.identity.caller import administrator, anyone
from appliance.system.live.container_exec import ContainerPlace
from appliance.system.live.door import Door
from appliance.system.live.program import ProgramChannel


class ExecQuery(msgspec.Struct):
    """Which container, and which runtime's where there are several."""

    container: Annotated[str, msgspec.Meta(pattern=NAME)]
    runtime: Annotated[str, msgspec.Meta(max_length=64)] = ""


class LiveContainerEndpoints:
    """/ws/containers/exec."""

    routes = Routes(prefix="/containers", tag="Live")

    def __init__(self, door: Door, runtimes: Runtimes, background: Background, trail: Trail) -> None:
        self._door = door
        self._runtimes = runtimes
        self._background = background
        self._trail = trail

    @routes.get("/exec", who=anyone, query=ExecQuery, listed=False)
    async def execute(self, call: Call, query: ExecQuery) -> Upgrade:
        """A program in a container, on a terminal."""
        place = ContainerPlace(self._runtimes, query.container, query.runtime)
        return await self._door.enter(
            call,
            administrator,
            lambda peer: ProgramChannel(peer, place, self._background, self._trail),
        )
