"""Programs run in a pod on a terminal, for somebody who types."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError

from appliance.host.containers.model import ExecOptions
from appliance.host.errors import HostError, Invalid
from appliance.host.kubernetes.client import ClusterClient, segment
from appliance.host.kubernetes.errors import CLUSTER
from appliance.host.kubernetes.exec_failures import failure_of
from appliance.host.kubernetes.failures import explained
from appliance.host.kubernetes.hang_up import ASKS_FOR_SHELL, SHELL, TYPED, Mark
from appliance.process.eventual import Tasks
from appliance.process.reactor import within
from appliance.process.terminal import Size
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.host.kubernetes.exec_socket import ExecSocket

T = TypeVar("T")

OPEN_SECONDS = 30.0
HELPER_SECONDS = 15.0
"""For a program of our own, to look for a shell or to hang up, which takes eight at most."""
_COMMAND_LIMIT = 32 * 1024
"""Bytes of a command as it stands in the URL; servers take some more."""


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container of a pod; `container` "" is its only one, or the one that the pod prefers."""

    namespace: str
    pod: str
    container: str

    def resource(self, command: Sequence[str], *, terminal: bool) -> str:
        """The path and query that run `command` there. Raises `Invalid` for one that is too long."""
        wanted = [("stdout", "true"), ("stdin", str(terminal).lower()), ("tty", str(terminal).lower())]
        if self.container:
            wanted.append(("container", self.container))
        query = urlencode([*wanted, *(("command", argument) for argument in command)])
        if len(query) > _COMMAND_LIMIT:
            raise Invalid("command", f"more than {_COMMAND_LIMIT >> 10} KiB")
        return f"/api/v1/namespaces/{segment(self.namespace)}/pods/{segment(self.pod)}/exec?{query}"


class ClusterExecutions:
    """Starts programs in a cluster's pods and does what can be done that none outlives the one who typed."""

    def __init__(self, reactor: Any, client: ClusterClient, threads: Threads) -> None:
        self._reactor = reactor
        self._client = client
        self._threads = threads
        self._ending = Tasks()

    async def run(self, container: PodContainer, options: ExecOptions) -> "PodExecution":
        """Start a program, for the caller to close. The names in `container` are such as may be.

        Raises `Invalid`, `Forbidden`, `Unknown`, `Conflict` for a container that does not run, `Rejected` for one that
        the pod has not, `ClusterAbsent`, `ClusterError`.
        """
        if options.user:
            raise Invalid("user", "in a pod programs run as the user of their container")
        mark = Mark() if options.command[0] == SHELL or await self._has_shell(container) else None
        command = mark.put_on(options.command) if mark is not None else options.command
        socket = await self._open(container, command, terminal=True)
        socket.resize(options.size)
        return PodExecution(self, container, mark, socket)

    async def stop(self) -> None:
        """Return when what was closed has ended."""
        await self._ending.finished()

    def end(self, container: PodContainer, mark: Mark) -> None:
        """End a program that may still run, in the background."""
        self._ending.background(self._end(container, mark), "ending a program in a pod")

    async def _end(self, container: PodContainer, mark: Mark) -> None:
        try:
            await self._run(container, mark.hang_up())
        except HostError:
            return  # its pod has gone, or nobody can say

    async def _has_shell(self, container: PodContainer) -> bool:
        return await self._run(container, ASKS_FOR_SHELL) == 0

    async def _run(self, container: PodContainer, command: Sequence[str]) -> int | None:
        """Run a program that ends soon: its exit code, None where it could not be run. Raises `HostError`."""

        async def run() -> int | None:
            socket = await self._open(container, command, terminal=False)
            try:
                while await socket.read():
                    pass
                return socket.status.exit_code if socket.status is not None else None
            finally:
                socket.close()

        return await self._within(HELPER_SECONDS, run())

    async def _open(self, container: PodContainer, command: Sequence[str], *, terminal: bool) -> "ExecSocket":
        return await self._within(OPEN_SECONDS, self._connect(container.resource(command, terminal=terminal)))

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._reactor, seconds, Deferred.fromCoroutine(work))
        except TimeoutError:
            raise CLUSTER.was_silent(seconds) from None

    async def _connect(self, resource: str) -> "ExecSocket":
        from appliance.host.outgoing import agent

        module = await self._threads.run(import_module, "appliance.host.kubernetes.exec_socket")
        target = await self._client.target()
        try:
            connecting = target.endpoint(self._reactor, agent.SIP).connect(
                module.ExecSockets(self._reactor, target, resource)
            )
            socket = await cast("Deferred[ExecSocket]", connecting)
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, DNSLookupError) as error:
            raise explained(error, target.server.authority) from error
        try:
            await socket.opened()
        except BaseException:
            socket.close()
            raise
        return socket


class PodExecution:
    """A program on its terminal in a pod; implements `Execution`."""

    def __init__(
        self, executions: ClusterExecutions, container: PodContainer, mark: Mark | None, socket: "ExecSocket"
    ) -> None:
        self._executions = executions
        self._container = container
        self._mark = mark
        self._socket = socket

    async def read(self) -> bytes:
        """What it prints, as soon as there is some; empty at the end. Raises `ClusterError`."""
        return await self._socket.read()

    def write(self, data: bytes) -> None:
        """Type."""
        self._socket.write(data)

    async def writable(self) -> None:
        """Return when what was typed is on its way, or the program has gone."""
        await self._socket.writable()

    async def resize(self, size: Size) -> None:
        """Give the terminal another size."""
        self._socket.resize(size)

    async def exit_code(self) -> int | None:
        """How it has ended, after `read` has come to the end. Raises `Invalid`, `ClusterError` for no program."""
        status = self._socket.status
        if status is None:
            return None
        if status.exit_code is None:
            raise failure_of(status.message)
        return status.exit_code

    def close(self) -> None:
        """Let go of it, and hang up where it still runs."""
        may_run = self._socket.status is None
        if may_run and self._mark is None:
            self._socket.write(TYPED)
        self._socket.close()
        if may_run and self._mark is not None:
            self._executions.end(self._container, self._mark)
