"""Programs run in a container of others on a terminal, for somebody who types."""

from collections.abc import Coroutine, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.logger import Logger

from appliance.host.containers.model import ExecOptions
from appliance.host.errors import HostError, Invalid
from appliance.host.remote_programs.failures import failure_of
from appliance.host.remote_programs.hang_up import ASKS_FOR_SHELL, SHELL, TYPED, Mark
from appliance.host.remote_programs.place import Place
from appliance.process.eventual import Tasks
from appliance.process.reactor import within
from appliance.process.terminal import Size
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.host.remote_programs.socket import ExecSocket

T = TypeVar("T")

OPEN_SECONDS = 30.0
HELPER_SECONDS = 15.0
"""For a program of our own, to look for a shell or to hang up, which takes eight at most."""


class RemoteExecutions:
    """Starts programs and does what can be done that none outlives the one who typed."""

    _log = Logger()

    def __init__(self, reactor: Any, threads: Threads) -> None:
        self._reactor = reactor
        self._threads = threads
        self._running: set[RemoteExecution] = set()
        self._ending = Tasks()

    async def run(self, place: Place, options: ExecOptions) -> "RemoteExecution":
        """Start a program, for the caller to close. Raises `Invalid`, and what opening one at the place raises."""
        if options.user:
            raise Invalid("user", "here programs run as the user of their container")
        mark = Mark() if options.command[0] == SHELL or await self._has_shell(place) else None
        command = mark.put_on(options.command) if mark is not None else options.command
        socket = await self._open(place, command, terminal=True)
        socket.resize(options.size)
        execution = RemoteExecution(self, place, mark, socket)
        self._running.add(execution)
        return execution

    async def stop(self) -> None:
        """Close all that runs, and return when it has ended."""
        for execution in list(self._running):
            execution.close()
        await self._ending.finished()

    def closed(self, execution: "RemoteExecution", place: Place, mark: Mark | None) -> None:
        """Forget a program, and end in the background what bears a mark and may still run."""
        self._running.discard(execution)
        if mark is not None:
            self._ending.background(self._end(place, mark), "ending a program in a container")

    async def _end(self, place: Place, mark: Mark) -> None:
        try:
            await self._run(place, mark.hang_up())
        except HostError as error:  # its container has gone, or nobody can say
            self._log.info("A program in a container may run on: {error}", error=str(error))

    async def _has_shell(self, place: Place) -> bool:
        return await self._run(place, ASKS_FOR_SHELL) == 0

    async def _run(self, place: Place, command: Sequence[str]) -> int | None:
        """Run a program that ends soon: its exit code, None where it could not be run. Raises `HostError`."""

        async def run() -> int | None:
            socket = await self._open(place, command, terminal=False)
            try:
                while await socket.read():
                    pass
                return socket.status.exit_code if socket.status is not None else None
            finally:
                socket.close()

        return await self._within(place, HELPER_SECONDS, run())

    async def _open(self, place: Place, command: Sequence[str], *, terminal: bool) -> "ExecSocket":
        return await self._within(place, OPEN_SECONDS, self._connect(place, command, terminal=terminal))

    async def _within(self, place: Place, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._reactor, seconds, Deferred.fromCoroutine(work))
        except TimeoutError:
            raise place.peer.was_silent(seconds) from None

    async def _connect(self, place: Place, command: Sequence[str], *, terminal: bool) -> "ExecSocket":
        module = await self._threads.run(import_module, "appliance.host.remote_programs.socket")
        opening = await place.open(command, terminal=terminal)
        try:
            connecting = opening.endpoint.connect(module.ExecSockets(self._reactor, opening))
            socket = await cast("Deferred[ExecSocket]", connecting)
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, DNSLookupError) as error:
            raise opening.lost(error) from error
        try:
            await socket.opened()
        except BaseException:
            socket.close()
            raise
        return socket


class RemoteExecution:
    """A program on its terminal in a container; implements `Execution`."""

    def __init__(self, executions: RemoteExecutions, place: Place, mark: Mark | None, socket: "ExecSocket") -> None:
        self._executions = executions
        self._place = place
        self._mark = mark
        self._socket = socket
        self._is_closed = False

    async def read(self) -> bytes:
        """What it prints, as soon as there is some; empty at the end. Raises `Unavailable`."""
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
        """How it has ended, after `read` has come to the end. Raises `Invalid`, `Unavailable` for no program."""
        status = self._socket.status
        if status is None:
            return None
        if status.exit_code is None:
            raise failure_of(self._place.peer, status.message)
        return status.exit_code

    def close(self) -> None:
        """Let go of it, and hang up where it still runs."""
        if self._is_closed:
            return
        self._is_closed = True
        may_run = self._socket.status is None
        if may_run and self._mark is None:
            self._socket.write(TYPED)
        self._socket.close()
        self._executions.closed(self, self._place, self._mark if may_run else None)
