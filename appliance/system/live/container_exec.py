"""`/ws/containers/exec?container,runtime`: a program in a container of this machine; see `program.py`."""

from collections.abc import Mapping

from appliance.host.containers.model import ExecOptions
from appliance.host.containers.runtime import Execution, Runtimes


class ContainerPlace:
    """A container of the runtime that is named, or of the first there is; implements `Place`."""

    action = "container.exec"

    def __init__(self, runtimes: Runtimes, container: str, runtime: str) -> None:
        self.name = container
        self._runtimes = runtimes
        self._runtime = runtime

    async def execute(self, options: ExecOptions) -> tuple[Execution, Mapping[str, str]]:
        """Start a program. Raises `HostError`."""
        execution, runtime = await self._runtimes.ask(
            lambda runtime: runtime.execute(self.name, options), self._runtime
        )
        return execution, {"runtime": runtime}
