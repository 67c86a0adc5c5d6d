"""`/ws/kubernetes/pods/exec?pod,namespace,container`: a program in a container of a pod; see `program.py`."""

from collections.abc import Mapping

from appliance.host.containers.model import ExecOptions
from appliance.host.containers.runtime import Execution
from appliance.host.kubernetes.executions import ClusterExecutions, PodContainer


class PodPlace:
    """A container of a pod; implements `Place`."""

    action = "kubernetes.exec"

    def __init__(self, executions: ClusterExecutions, container: PodContainer) -> None:
        self.name = f"{container.namespace}/{container.pod}"
        self._executions = executions
        self._container = container

    async def execute(self, options: ExecOptions) -> tuple[Execution, Mapping[str, str]]:
        """Start a program. Raises `HostError`."""
        return await self._executions.run(self._container, options), {"container": self._container.container}
