"""Run a program to its end and collect what it printed."""

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import DeferredList, TimeoutError
from twisted.logger import Logger

from appliance.process.child import STDOUT, TERMINATE_GRACE, Child, Ending, spawn
from appliance.process.command import ENVIRONMENT, find_program
from appliance.process.dialogue import Dialogue
from appliance.process.errors import ProcessError
from appliance.process.output import Head, Tail
from appliance.process.reactor import ProcessReactor, within


@dataclass(frozen=True, slots=True)
class Finished:
    """
    How a program ended and what it printed.

    `truncated` says that bytes were dropped: standard output keeps its beginning, standard error its end.
    """

    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool

    @property
    def succeeded(self) -> bool:
        """Exit code 0, in time."""
        return self.exit_code == 0 and not self.timed_out

    def describe(self) -> str:
        """The ending in a few words, without any output: `exit code 3`, `ended by SIGKILL`, `timed out`."""
        if self.timed_out:
            return "timed out"
        if self.signal is not None:
            try:
                return f"ended by {signals.Signals(self.signal).name}"
            except ValueError:
                return f"ended by signal {self.signal}"
        return f"exit code {self.exit_code}"


class ProcessRunner:
    """Starts processes and owns them until they are gone."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor) -> None:
        self._reactor = reactor
        self._children: set[Child] = set()
        self._stopping = False

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float = 30.0,
        output_limit: int = 1 << 20,
    ) -> Finished:
        """
        Run `argv` and return how it ended, with at most `output_limit` bytes of each of its outputs.

        `env` is its whole environment (default `ENVIRONMENT`). After `timeout` seconds it is terminated, as
        when the caller is cancelled. Raises `ProcessError` when it cannot be started; any ending of it is a
        result.
        """
        stdout, stderr = Head(output_limit), Tail(output_limit)

        def receive(descriptor: int, data: bytes) -> None:
            (stdout if descriptor == STDOUT else stderr).add(data)

        child = self.start(argv, receive, stdin=stdin, env=env, cwd=cwd)
        ending, timed_out = await self.attend(child, timeout)
        return Finished(
            exit_code=ending.exit_code,
            signal=ending.signal,
            stdout=stdout.content(),
            stderr=stderr.content(),
            timed_out=timed_out,
            truncated=stdout.dropped or stderr.dropped,
        )

    def start(
        self,
        argv: Sequence[str],
        receive: Callable[[int, bytes], None],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        inherit: Mapping[int, int] | None = None,
        owned: bool = True,
    ) -> Child:
        """
        Start `argv` and return at once; see `Child`. Raises `ProcessError`.

        With `owned` false `stop` leaves it alone: for what is to outlive this server.
        """
        child = Child(self._reactor, receive, stdin)
        self._launch(child, argv, env, cwd, inherit, owned)
        return child

    def converse(
        self, argv: Sequence[str], receive: Callable[[int, bytes], None], *, env: Mapping[str, str] | None = None
    ) -> Dialogue:
        """Like `start`, for a program whose standard input stays open; see `Dialogue`. Raises `ProcessError`."""
        child = Dialogue(self._reactor, receive)
        self._launch(child, argv, env, cwd=None, inherit=None, owned=True)
        return child

    async def attend(self, child: Child, timeout: float | None) -> tuple[Ending, bool]:
        """Wait for `child`: its ending, and whether it had to be terminated after `timeout` seconds.

        Leaving early (cancelled, failed) terminates the child; this object still owns and reaps it.
        """
        timed_out = False

        def expire() -> None:
            nonlocal timed_out
            timed_out = child.ending is None or child.paused
            child.terminate()

        timer = None if timeout is None else self._reactor.callLater(timeout, expire)
        ended = False
        try:
            ending = await child.wait()
            ended = True
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if not ended:
                child.terminate()
        return ending, timed_out

    async def stop(self) -> None:
        """Refuse new processes, terminate those there are and wait until they are gone (10 s at the most)."""
        self._stopping = True
        children = list(self._children)
        for child in children:
            child.terminate()
        gone = DeferredList([child.wait() for child in children], consumeErrors=True)
        try:
            await within(self._reactor, 2 * TERMINATE_GRACE, gone)
        except TimeoutError:
            left = [child.pid for child in self._children]
            self._log.error("Processes {pids} did not end even when killed", pids=left)

    def _launch(
        self,
        child: Child,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: str | None,
        inherit: Mapping[int, int] | None,
        owned: bool,
    ) -> None:
        if self._stopping:
            raise ProcessError("cannot start a process: the server is stopping")
        environment = ENVIRONMENT if env is None else env
        line = find_program(argv, env=environment, cwd=cwd)
        spawn(self._reactor, child, line, env=environment, cwd=cwd, inherit=inherit)
        if owned:
            self._children.add(child)
            _ = child.wait().addBoth(lambda _: self._children.discard(child))
