"""
Long work that survives the server: durable, one at a time of each kind, its end told truthfully.

What a kill -9 (or a power cut) leaves, in the order of events; S is this server, V the supervisor, P the
program.

1. `reserve`: `job.json` is durable before it returns. S dies before: the folder has no record and is
   removed, nobody was promised anything. S dies after: no lock, no result, so it ended "interrupted".
2. `launch`: `command.json` is written, the lock taken, V spawned with the lock as descriptor 3, S closes
   its own. The lock is held without a gap from before V exists until V is gone. S dies before the spawn:
   lock free, interrupted. S dies later: lock held, the job is adopted.
3. V forks P, which waits at a gate, writes `process.json`, says "ready", opens the gate. V dies before
   that: P sees its gate close and never runs, and the lock is free, so "interrupted" is the truth. A
   program that runs is always one whose pid and start time are on disk.
4. P runs. S dies: V does not notice; the next S adopts the job by the lock. V dies: P goes on and is
   adopted by pid, start time and boot id until it ends; nobody can learn its exit code then, so it counts
   as interrupted. P dies: V writes `exit.json` with the signal. A reboot kills all three: lock free, no
   mark of this boot alive, interrupted.
5. V writes `exit.json`, then dies and thereby frees the lock: S looks at the lock first and at the result
   after, so a free lock without a result is no race.
6. S calls `on_end`, then writes `ended.json`. S dies between: the next S calls it again, so it must be
   idempotent. The next job of the kind can be reserved only after that, so no old result overwrites a new
   one.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError
from twisted.logger import Logger

from appliance.process.child import TERMINATE_GRACE
from appliance.process.command import ENVIRONMENT, find_program
from appliance.process.errors import AlreadyRunning, JobError, JobsClosed, ProcessError
from appliance.process.eventual import Tasks
from appliance.process.job import LOG_LIMIT, Job, JobState
from appliance.process.launch import Launcher, systemd_scope
from appliance.process.reactor import ProcessReactor, sleep, within
from appliance.process.records import JobFolder, JobResult, Probe, hold_directory
from appliance.process.run import ProcessRunner
from appliance.process.watch import ProcessMark, process_ended, send_signal
from appliance.threads import Threads

OnEnd = Callable[[Job], Awaitable[None]]

INTERRUPTED = JobResult(interrupted=True, reason="interrupted")
ORPHAN_ENDED = JobResult(interrupted=True, reason="its supervisor was killed, so its exit code is unknown")

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_TELL_AGAIN = (1.0, 5.0)
_LOOK_AGAIN = 0.2
_IN_USE_ATTEMPTS = 20
_CLOSE_WITHIN = 10.0
_STOP_MARGIN = 5.0


class Jobs:
    """
    The jobs of one directory, which one server at a time may have open.

    `register` every kind, then `adopt`, then `reserve` or `start`; `close` at the end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ProcessReactor,
        directory: Path,
        runner: ProcessRunner,
        *,
        launcher: Launcher | None = None,
    ) -> None:
        self._reactor = reactor
        self._threads = Threads(reactor)
        self._directory = directory
        self._launcher = launcher or Launcher(reactor, runner, scope=systemd_scope())
        self._on_end: dict[str, OnEnd] = {}
        self._current: dict[str, Job] = {}
        self._untold: dict[str, JobFolder] = {}
        self._hold: int | None = None
        self._open = False
        self.endings: Counter[tuple[str, bool]] = Counter()
        """How many jobs of each kind have ended since the start, by whether they succeeded."""
        self._watching = Tasks()
        self._working = Tasks()

    def register(self, kind: str, on_end: OnEnd) -> None:
        """
        Name a kind of job (lower-case letters, digits, `-`, `_`) and who deals with its ends.

        `on_end(job)` is called once for every job that ended, with `job.result` set, before the next of its
        kind can begin; after a crash in between once more, so it must be idempotent. When it fails it is
        called again after 1 s and 5 s, then at the next start of the server unless another job of the kind
        came first.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"not a kind of job: {kind!r}")
        self._on_end[kind] = on_end

    def running(self, kind: str) -> Job | None:
        """The job of this kind that has not ended, if there is one."""
        return self._current.get(kind)

    def kinds_running(self) -> list[str]:
        """The kinds of which a job has not ended."""
        return sorted(self._current)

    async def adopt(self) -> None:
        """
        Open the directory and make true what an earlier server left: follow the jobs that live, end those
        that do not.

        When this returns, `on_end` has dealt with every job that ended meanwhile. Raises `JobError` while
        another server has the directory open, or when it cannot be used.
        """
        if self._hold is not None:
            raise JobError("these jobs are open already")
        self._hold = await self._take_directory()
        try:
            found = await self._threads.run(_look_at_all, self._directory)
        except OSError as error:
            self._let_go()
            raise JobError(f"cannot read the jobs in {self._directory}: {error}") from error
        self._open = True
        for folder, probe, launched, log in found:
            job = self._known(folder, launched, log)
            if job.kind not in self._on_end or job.kind in self._current:
                self._log.error("Job {id} is left alone: its kind is unknown or taken", id=job.id)
                continue
            self._current[job.kind] = job
            if probe.live:
                job.move(JobState.RUNNING)
                self._watch(job)
            else:
                await self._end(job, probe.result or INTERRUPTED)

    async def reserve(self, kind: str, *, owner: str) -> Job:
        """
        The one job of this kind from now until it has ended; durable on return, so that a crash shows as
        interrupted.

        `owner` says for whom, for people who read the records. Raises `AlreadyRunning`, or `JobError` when
        it cannot be recorded. The caller must launch, finish or abandon it (`async with` does the last).
        """
        if not self._open:
            raise JobsClosed("the jobs are not open")
        if kind not in self._on_end:
            raise JobError(f"no such kind of job: {kind}")
        if kind in self._current:
            raise AlreadyRunning(kind)
        job = Job(kind, owner, self._reactor.seconds(), self)
        self._current[kind] = job
        try:
            await self._working.start(self._record(job), f"recording a {kind} job")
        except CancelledError:
            job.unwanted = True
            raise
        return job

    async def start(
        self,
        kind: str,
        argv: Sequence[str],
        *,
        owner: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: Path | None = None,
        log_limit: int = LOG_LIMIT,
    ) -> Job:
        """`reserve` and `Job.launch` in one; raises what they raise."""
        job = await self.reserve(kind, owner=owner)
        await job.launch(argv, env=env, cwd=cwd, log=log, log_limit=log_limit)
        return job

    async def close(self) -> None:
        """Stop watching and give up the directory. Supervised programs run on; those who wait get
        `JobsClosed`."""
        self._open = False
        try:
            await within(self._reactor, _CLOSE_WITHIN, self._working.finished())
        except TimeoutError:
            self._log.warn("Jobs were closed while some were still being dealt with")
        self._working.cancel()
        self._watching.cancel()
        for job in self._current.values():
            job.ended.refuse(JobsClosed(f"the server stopped before the {job.kind} job ended"))
        self._let_go()

    # What a job asks for (JobKeeper)

    async def launch(
        self,
        job: Job,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | None,
        log: Path | None,
        log_limit: int,
        time_limit: float | None,
    ) -> None:
        """See `Job.launch`."""
        job.move(JobState.LAUNCHING)
        job.log = log or job.records.path / "output.log"
        command = {
            "argv": list(argv),
            "env": dict(ENVIRONMENT if env is None else env),
            "cwd": cwd or "/",
            "log": str(job.log),
            "log_limit": log_limit,
            "stop_grace": TERMINATE_GRACE,
            "time_limit": time_limit,
        }
        await self._working.start(self._launch(job, command), f"launching a {job.kind} job")

    async def conclude(self, job: Job, result: JobResult) -> None:
        """See `Job.finish` and `Job.abandon`."""
        if job.state is not JobState.RESERVED:
            raise JobError(f"a {job.kind} job that is {job.state.value} cannot be finished by the server")
        await self._working.start(self._end(job, result, record=True), f"ending a {job.kind} job")

    async def stop(self, job: Job) -> None:
        """See `Job.stop`."""
        if job.state is JobState.RESERVED:
            await self.conclude(job, JobResult(abandoned=True, reason="stopped"))
        for number in (signal.SIGTERM, signal.SIGKILL):
            while job.state is JobState.LAUNCHING:
                await sleep(self._reactor, _LOOK_AGAIN)
            probe = await self._threads.run(job.records.probe)
            _signal_job(probe, number)
            try:
                await within(self._reactor, TERMINATE_GRACE + _STOP_MARGIN, job.wait())
                return
            except TimeoutError:
                self._log.warn("Job {id} did not end on {signal}", id=job.id, signal=number.name)
        raise JobError(f"the {job.kind} job could not be stopped")

    # The life of a job, in its order

    async def _record(self, job: Job) -> None:
        untold = self._untold.get(job.kind)
        try:
            if untold is not None:
                await self._threads.run(untold.acknowledge)
                del self._untold[job.kind]
            job.folder = await self._threads.run(JobFolder.create, self._directory, job.kind, job.owner, job.created)
        except OSError as error:
            del self._current[job.kind]
            raise JobError(f"cannot record the {job.kind} job: {error}") from error
        if job.unwanted:
            await self._end(job, JobResult(abandoned=True, reason="given up"), record=True)

    async def _launch(self, job: Job, command: dict[str, Any]) -> None:
        try:
            command["argv"] = find_program(command["argv"], env=command["env"], cwd=command["cwd"])
            lock = await self._threads.run(job.records.prepare, command)
            try:
                await self._launcher.start(job.records.path, lock)
            finally:
                os.close(lock)
        except (ProcessError, OSError) as error:
            await self._end(job, JobResult(abandoned=True, reason=str(error)), record=True)
            raise ProcessError(f"cannot start the {job.kind} job: {error}") from error
        job.launched = True
        job.move(JobState.RUNNING)
        if self._open:
            self._watch(job)

    def _watch(self, job: Job) -> None:
        self._watching.background(self._follow(job), f"watching a {job.kind} job")

    async def _follow(self, job: Job) -> None:
        """Wait until nothing of the job runs, then end it."""
        while True:
            try:
                probe = await self._threads.run(job.records.probe)
            except OSError as error:  # out of descriptors or memory: not a reason to forget a running program
                self._log.error("Cannot look at job {id}: {error}", id=job.id, error=error)
                await sleep(self._reactor, _LOOK_AGAIN)
                continue
            if not probe.live:
                break
            await self._follow_process(job, probe)
        result = probe.result or (ORPHAN_ENDED if job.state is JobState.ORPHANED else INTERRUPTED)
        self._working.background(self._end(job, result), f"ending a {job.kind} job")

    async def _follow_process(self, job: Job, probe: Probe) -> None:
        watched: ProcessMark | None = probe.supervisor if probe.locked else probe.program
        if watched is None:  # its supervisor is just starting, or just ending
            await sleep(self._reactor, _LOOK_AGAIN)
            return
        if not probe.locked and job.state is JobState.RUNNING:
            self._log.warn("The supervisor of job {id} was killed, its program runs on", id=job.id)
            job.move(JobState.ORPHANED)
        await process_ended(self._reactor, watched)

    async def _end(self, job: Job, result: JobResult, *, record: bool = False) -> None:
        job.move(JobState.ENDING)
        job.result = result
        self.endings[job.kind, result.succeeded] += 1
        try:
            if record:
                await self._threads.run(job.records.write_result, result)
        except OSError as error:
            self._log.error("The end of job {id} is not on disk: {error}", id=job.id, error=error)
        await self._settle(job, told=await self._tell(job))
        job.move(JobState.ENDED)
        del self._current[job.kind]
        job.ended.set(result)

    async def _tell(self, job: Job) -> bool:
        for pause in (*_TELL_AGAIN, None):
            try:
                await self._on_end[job.kind](job)
                return True
            except Exception:
                self._log.failure("Dealing with the end of job {id} failed", id=job.id)
            if pause is not None:
                await sleep(self._reactor, pause)
        return False

    async def _settle(self, job: Job, *, told: bool) -> None:
        if not told:
            self._untold[job.kind] = job.records
        try:
            if told:
                await self._threads.run(job.records.acknowledge)
            await self._threads.run(job.records.prune)
        except OSError as error:
            self._untold[job.kind] = job.records
            self._log.error("The records of job {id} are behind: {error}", id=job.id, error=error)

    # The directory

    async def _take_directory(self) -> int:
        # A child on its way from fork to exec can hold a dead server's lock for some milliseconds.
        holder = ""
        for _ in range(_IN_USE_ATTEMPTS):
            try:
                return await self._threads.run(hold_directory, self._directory)
            except BlockingIOError as error:
                holder = str(error)
            except OSError as error:
                raise JobError(f"cannot use the job directory {self._directory}: {error}") from error
            await sleep(self._reactor, 0.1)
        raise JobError(f"the job directory {self._directory} is in use by another server (pid {holder})")

    def _let_go(self) -> None:
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def _known(self, folder: JobFolder, launched: bool, log: Path | None) -> Job:
        job = Job(folder.kind, folder.owner, folder.created, self)
        job.folder, job.launched, job.log = folder, launched, log
        return job


def _look_at_all(directory: Path) -> list[tuple[JobFolder, Probe, bool, Path | None]]:
    folders = JobFolder.unfinished(directory)
    return [(folder, folder.probe(), folder.launched, folder.log) for folder in folders]


def _signal_job(probe: Probe, number: signal.Signals) -> None:
    """Ask the supervisor to end its program; in its absence, or when asking did not help, signal the group
    itself."""
    if number is signal.SIGTERM and probe.supervisor is not None and probe.locked:
        send_signal(probe.supervisor, number)
    elif probe.program is not None:
        send_signal(probe.program, number, group=True)
