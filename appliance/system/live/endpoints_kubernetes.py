"""The path of the WebSocket into a pod."""

from typing import Annotated

import msgspec

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.kubernetes.executions import ClusterExecutions, PodContainer
from appliance.host.kubernetes.names import check_label, check_name
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Upgrade
from appliance.identity.caller import administrator, anyone
from appliance.system.live.door import Door
from appliance.system.live.pod_exec import PodPlace
from appliance.system.live.program import ProgramChannel

_Name = Annotated[str, msgspec.Meta(max_length=253)]


class PodExecQuery(msgspec.Struct):
    """Which container: of a pod's several one must be named, unless the pod prefers one."""

    pod: _Name
    namespace: _Name = "default"
    container: _Name = ""

    @property
    def checked(self) -> PodContainer:
        """As names that may be. Raises `Invalid`."""
        return PodContainer(
            check_label("namespace", self.namespace),
            check_name("pod", self.pod),
            check_label("container", self.container) if self.container else "",
        )


class LiveKubernetesEndpoints:
    """/ws/kubernetes/pods/exec."""

    routes = Routes(prefix="/kubernetes/pods", tag="Live")

    def __init__(self, door: Door, executions: ClusterExecutions, background: Background, trail: Trail) -> None:
        self._door = door
        self._executions = executions
        self._background = background
        self._trail = trail

    @routes.get("/exec", who=anyone, query=PodExecQuery, listed=False)
    async def execute(self, call: Call, query: PodExecQuery) -> Upgrade:
        """A program in a pod, on a terminal."""
        place = PodPlace(self._executions, query.checked)
        return await self._door.enter(
            call, administrator, lambda peer: ProgramChannel(peer, place, self._background, self._trail)
        )
