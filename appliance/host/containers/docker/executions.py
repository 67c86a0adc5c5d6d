"""Programs run in a container on a terminal, for somebody who types."""

import os
import signal
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.hijack import Hijacked
from appliance.host.containers.docker.names import check_name
from appliance.host.containers.docker.wire import ExecMade, ExecState
from appliance.host.containers.errors import EngineAbsent
from appliance.host.containers.model import ExecOptions
from appliance.host.errors import HostError, Unknown
from appliance.process.eventual import Tasks
from appliance.process.reactor import sleep
from appliance.process.terminal import Size
from appliance.threads import Threads

_RESIZE_TRIES = 20
_TRY_AGAIN_SECONDS = 0.05
_END_TRIES = 40
HANG_UP_SECONDS = 5.0
"""What a program gets to end when its terminal is gone."""
_HANG_UP_LOOKS = 20
_KILL_LOOKS = 8
_STATE_TRIES = 5


class DockerExecutions:
    """Starts programs in the engine's containers and sees to it that none outlives the one who typed."""

    _log = Logger()

    def __init__(self, reactor: Any, client: EngineClient, threads: Threads) -> None:
        self._reactor = reactor
        self._client = client
        self._threads = threads
        self._ending = Tasks()

    async def run(self, container: str, options: ExecOptions) -> "DockerExecution":
        """Start a program in a container that runs, for the caller to close.

        Raises `Invalid`, `Unknown`, `Conflict` for a container that does not run, `EngineError`.
        """
        check_name("container", container)
        wanted: dict[str, object] = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": True,
            "Cmd": list(options.command),
            "Env": ["TERM=xterm-256color"],
        }
        if options.user:
            wanted["User"] = options.user
        answer = await self._client.call("POST", f"/containers/{segment(container)}/exec", json=wanted)
        id = answer.decode(ExecMade).id
        connection = await self._client.hijack(f"/exec/{segment(id)}/start", {"Detach": False, "Tty": True})
        execution = DockerExecution(self, id, connection)
        self._ending.background(self._first_size(id, options.size), "giving a terminal its size")
        return execution

    async def stop(self) -> None:
        """Return when what was closed has ended."""
        await self._ending.finished()

    # What an execution asks for

    async def resize(self, id: str, size: Size) -> None:
        """Give the terminal another size. Raises `HostError` for one whose program does not run."""
        query = {"h": str(size.rows), "w": str(size.columns)}
        await self._client.call("POST", f"/exec/{segment(id)}/resize", query)

    async def exit_code(self, id: str) -> int | None:
        """How a program has ended whose output has; None where the engine does not say."""
        for _ in range(_END_TRIES):
            state = await self._state(id)
            if not state.running:
                return state.exit_code
            await sleep(self._reactor, _TRY_AGAIN_SECONDS)
        return None

    def end(self, id: str) -> None:
        """End a program that may still run, in the background."""
        self._ending.background(self._end(id), "ending a program in a container")

    async def _state(self, id: str) -> ExecState:
        return (await self._client.call("GET", f"/exec/{segment(id)}/json")).decode(ExecState)

    async def _first_size(self, id: str, size: Size) -> None:
        """The engine answers before the program runs, and a terminal without one has no size."""
        for _ in range(_RESIZE_TRIES):
            try:
                await self.resize(id, size)
                return
            except HostError:
                await sleep(self._reactor, _TRY_AGAIN_SECONDS)

    async def _end(self, id: str) -> None:
        """An engine lets a program run on whose terminal nobody sees any more: hang up in its place."""
        state = await self._last_state(id)
        if state is None or not state.running or not state.pid:
            return
        for look in range(_HANG_UP_LOOKS + _KILL_LOOKS):
            number = signal.SIGHUP if look == 0 else None if look < _HANG_UP_LOOKS else signal.SIGKILL
            if not await self._threads.run(signal_session, state.pid, state.container_id, number):
                return
            await sleep(self._reactor, HANG_UP_SECONDS / _HANG_UP_LOOKS)
        self._log.error("Process {pid} in container {id} could not be ended", pid=state.pid, id=state.container_id)

    async def _last_state(self, id: str) -> ExecState | None:
        """The state of a program that is to be ended, or None; an engine that fails for the moment is asked again."""
        for _ in range(_STATE_TRIES):
            try:
                return await self._state(id)
            except (Unknown, EngineAbsent):
                return None  # gone, or its engine is
            except HostError as error:
                self._log.warn("Docker does not tell of a program that is to be ended: {error}", error=error)
                await sleep(self._reactor, _TRY_AGAIN_SECONDS)
        return None


class DockerExecution:
    """A program on its terminal in a container; implements `Execution`."""

    _log = Logger()

    def __init__(self, executions: DockerExecutions, id: str, connection: Hijacked) -> None:
        self._executions = executions
        self._id = id
        self._connection = connection
        self._has_ended = False

    async def read(self) -> bytes:
        """What it prints, as soon as there is some; empty at the end. Raises `EngineError`."""
        output = await self._connection.read()
        self._has_ended = not output
        return output

    def write(self, data: bytes) -> None:
        """Type."""
        self._connection.write(data)

    async def writable(self) -> None:
        """Return when the program has taken what was typed, or has gone."""
        await self._connection.writable()

    async def resize(self, size: Size) -> None:
        """Give the terminal another size. Raises `HostError`."""
        await self._executions.resize(self._id, size)

    async def exit_code(self) -> int | None:
        """How it has ended, after `read` has come to the end. Raises `HostError`."""
        return await self._executions.exit_code(self._id)

    def close(self) -> None:
        """Let go of it, and hang up where it still runs."""
        has_ended = self._has_ended
        self._connection.close()
        if not has_ended:
            self._executions.end(self._id)


def signal_session(pid: int, container: str, number: signal.Signals | None) -> bool:
    """Signal the session that `pid` leads, as far as it lies in `container`; tell whether there is anybody. Blocking.

    A process counts only where its control group bears the container's id: an engine in a process namespace of its own
    names numbers that are somebody else's here.
    """
    found = False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) != pid or fields[0] in (b"Z", b"X"):
                continue
            if not container or container.encode() not in (entry / "cgroup").read_bytes():
                continue
            found = True
            if number is not None:
                os.kill(int(entry.name), number)
            if number is signal.SIGHUP:
                os.kill(int(entry.name), signal.SIGCONT)
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
    return found
