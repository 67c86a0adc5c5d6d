"""One job as its callers see it, and the states it goes through."""

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from twisted.internet.defer import Deferred

from appliance.process.errors import JobError
from appliance.process.eventual import Eventual
from appliance.process.records import JobFolder, JobResult

LOG_LIMIT = 64 << 20
"""Bytes of a program's output that its log takes, unless the caller says otherwise."""


class JobState(enum.Enum):
    """Where a job is in its life."""

    RESERVED = "reserved"
    LAUNCHING = "launching"
    RUNNING = "running"
    ORPHANED = "orphaned"  # its supervisor was killed, its program runs on
    ENDING = "ending"
    ENDED = "ended"


_NEXT: Mapping[JobState, frozenset[JobState]] = {
    JobState.RESERVED: frozenset({JobState.LAUNCHING, JobState.RUNNING, JobState.ENDING}),
    JobState.LAUNCHING: frozenset({JobState.RUNNING, JobState.ENDING}),
    JobState.RUNNING: frozenset({JobState.ORPHANED, JobState.ENDING}),
    JobState.ORPHANED: frozenset({JobState.ENDING}),
    JobState.ENDING: frozenset({JobState.ENDED}),
    JobState.ENDED: frozenset(),
}


class JobKeeper(Protocol):
    """What a job asks of the jobs it belongs to."""

    async def launch(
        self,
        job: "Job",
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | None,
        log: Path | None,
        log_limit: int,
        time_limit: float | None,
    ) -> None: ...

    async def conclude(self, job: "Job", result: JobResult) -> None: ...

    async def stop(self, job: "Job") -> None: ...


class Job:
    """
    A piece of long work, the only one of its kind until it has ended.

    `created` is in seconds since the epoch, `percentage` None until reported, `log` None until launched,
    `result` None until the work has ended. `async with` a reserved job abandons it unless the block
    launched or finished it.
    """

    def __init__(self, kind: str, owner: str, created: float, keeper: JobKeeper) -> None:
        self.kind = kind
        self.owner = owner
        self.created = created
        self.state = JobState.RESERVED
        self.percentage: int | None = None
        self.log: Path | None = None
        self.launched = False
        self.result: JobResult | None = None
        self.folder: JobFolder | None = None
        self.unwanted = False
        self.ended: Eventual[JobResult] = Eventual()
        self._keeper = keeper

    @property
    def id(self) -> str:
        """A name that no other job of this directory has."""
        return f"{self.kind}/{self.records.path.name}"

    @property
    def records(self) -> JobFolder:
        """Its folder on disk; there is one as soon as `reserve` has returned."""
        if self.folder is None:
            raise JobError(f"the {self.kind} job is not recorded yet")
        return self.folder

    def report(self, percentage: int) -> None:
        """Note the progress; may be handed to the work as a callback."""
        self.percentage = min(100, max(0, percentage))

    def wait(self) -> Deferred[JobResult]:
        """Its result, once its kind's `on_end` has dealt with it and the next one may be reserved.

        Any number may wait; cancelling one wait touches neither the job nor the others. Fails with
        `JobsClosed` when the server stops first.
        """
        return self.ended.wait()

    async def launch(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: Path | None = None,
        log_limit: int = LOG_LIMIT,
        time_limit: float | None = None,
    ) -> None:
        """
        Start `argv` under a supervisor that outlives this server; its output is appended to `log`.

        `env` is its whole environment, `cwd` is `/` unless given, `log` a file in the job's folder unless
        given, of which this job writes `log_limit` bytes at the most; one beyond 4 MiB is set aside as `.1`
        first. After `time_limit` seconds the program is stopped as by `stop`, and the log says so; without
        one it may run for ever. Returns when the program is certain to run. Raises `ProcessError` when it
        cannot be started: the job has then ended, abandoned, and `on_end` was told. Raises `JobError` unless
        the job is reserved. Cancelling the caller does not stop the launch.
        """
        await self._keeper.launch(self, argv, env=env, cwd=cwd, log=log, log_limit=log_limit, time_limit=time_limit)

    async def finish(self, code: int) -> None:
        """End a job whose work this server did itself, by exit code `code` (0 is success)."""
        await self._keeper.conclude(self, JobResult(code=code))

    async def abandon(self, reason: str) -> None:
        """Give up a reserved job before its work began."""
        await self._keeper.conclude(self, JobResult(abandoned=True, reason=reason))

    async def stop(self) -> None:
        """
        End the program's whole group (TERM, KILL after 5 s) and return when the job has ended.

        A job that is only reserved is abandoned; one that has ended is left alone.
        """
        await self._keeper.stop(self)

    def move(self, state: JobState) -> None:
        """Go on to `state`; raises `JobError` where that is not possible from here."""
        if state not in _NEXT[self.state]:
            raise JobError(f"a {self.kind} job that is {self.state.value} cannot become {state.value}")
        self.state = state

    async def __aenter__(self) -> "Job":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state is JobState.RESERVED:
            await self.abandon("given up" if error is None else f"given up: {type(error).__name__}")
