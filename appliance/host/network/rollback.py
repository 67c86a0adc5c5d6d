"""Changes that undo themselves unless they are confirmed in time.

What a router out of reach can be trusted with: a small process of its own (`undo.py`), running before the change is
made, with all it needs written down; a job, so that it has a session of its own and, under systemd, a scope, and
outlives a stop, a crash and an update of this server. A record alone, undone at the next start, would leave a change
for ever where the server does not come up again; a timer in the server, where it is killed. The record is there as
well: a process that was killed left no decision, and this server undoes in its place, at once or at its next start.

One change waits at a time, and no other is made meanwhile: what the undoing finds is what the change left.

What a kill -9 leaves, S being this server and U the process: S before U runs: no change was made. S while it makes the
change: the kernel frees the lock on the plan, and U undoes what has come about when the time is up, or when somebody
would have it confirmed, since nobody knows whether it is whole. S later: U undoes,
or the next S finds its job and can still confirm. U: S undoes at once. Both: the next S undoes at its start. A reboot:
the change was in the kernel only, so nothing is left of it.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from twisted.logger import Logger

from appliance.database.audit import AuditEntry, AuditLog
from appliance.database.errors import DatabaseError
from appliance.files import write_atomic
from appliance.host.errors import Conflict, HostError, Unavailable
from appliance.host.job_status import About, JobStatuses
from appliance.host.network.netlink import Netlink, Request, ensure
from appliance.host.network.undo import ARMED, CONFIRMED, PLAN, UNDONE, WITHDRAWN, decide, decided, decode, encode
from appliance.process.command import ENVIRONMENT
from appliance.process.errors import JobError, ProcessError
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from appliance.threads import Threads

KIND = "network_rollback"
ACTION = "network.rollback"
MADE = "made"
"""The file by which a server says that the change has come about whole: only then can it be confirmed."""

_MODULE = "appliance.host.network.undo"
_ROOT = Path(__file__).absolute().parents[3]
_ARMED_SECONDS = 20.0
_LIMIT = 4096  # requests: more routes than a person sets


class PendingRollback(msgspec.Struct, frozen=True):
    """A change that is undone unless POST network/confirm comes within `seconds`; `job` tells what became of it."""

    seconds: int
    job: str


class Rollbacks:
    """Keeps the change that waits for its confirmation. Made before the jobs are adopted."""

    _log = Logger()

    def __init__(self, threads: Threads, jobs: Jobs, statuses: JobStatuses, audit_log: AuditLog) -> None:
        self._threads = threads
        self._jobs = jobs
        self._statuses = statuses
        self._audit_log = audit_log
        jobs.register(KIND, self._ended)
        statuses.show(KIND, _describe)

    async def refuse_if_pending(self) -> None:
        """Raises `Conflict` while a change waits for its confirmation.

        One that was decided on by a server that was killed before it ended the process waits for nothing.
        """
        job = self._jobs.running(KIND)
        if job is None or job.folder is None:
            return
        if await self._threads.run(decided, job.records.path) in (CONFIRMED, WITHDRAWN):
            await self._stop(job)
        if self._jobs.running(KIND) is not None:
            raise Conflict("An earlier change waits for POST network/confirm, or to be undone; try again then")

    async def make(
        self, what: str, undo: Sequence[Request], seconds: int, owner: str, make: Callable[[], object]
    ) -> PendingRollback:
        """Call `make` in a thread, having seen to it that `undo` follows in `seconds` unless `confirm` is called.

        Raises what `make` raises, which has changed nothing then; `Unavailable` when there can be no such safety.
        """
        if len(undo) > _LIMIT:
            raise Conflict(f"More than {_LIMIT} routes and addresses would have to be made again")
        try:
            job = await self._jobs.reserve(KIND, owner=owner)
            try:
                async with job:
                    await self._statuses.begin(job, About(what))
                    await self._make(job, undo, seconds, make)
            except HostError:
                await self._stop(job)
                raise
        except (JobError, ProcessError) as error:
            raise Unavailable(f"Not changed, since it could not be made to undo itself: {error}") from error
        return PendingRollback(seconds, (await self._statuses.of(job)).id)

    async def confirm(self) -> str:
        """Let the change that waits stay; what it was. Raises `Conflict` where none waits, or its time is up.

        To be told twice is no error: of the first time the answer may have been lost, with the server that gave it.
        """
        job = self._jobs.running(KIND)
        if job is None or job.folder is None:
            raise Conflict("No change waits for a confirmation")
        folder = job.records.path
        if await self._threads.run(decided, folder) == WITHDRAWN:
            await self._stop(job)
            raise Conflict("No change waits for a confirmation")
        if not await self._threads.run((folder / MADE).exists):
            await self._stop(job)  # which undoes at once
            raise Conflict("The server was killed while it made the change, so what there was of it is undone")
        first = await self._threads.run(decide, folder, CONFIRMED)
        if not first and await self._threads.run(decided, folder) == UNDONE:
            raise Conflict("It is too late: the change has been undone")
        what = (await self._statuses.about(job)).object
        await self._stop(job)
        return what

    async def _make(self, job: Job, undo: Sequence[Request], seconds: int, make: Callable[[], object]) -> None:
        folder = job.records.path
        lock = await self._threads.run(_write_plan, folder, undo)
        try:
            await job.launch(_command(folder, seconds), env=_environment())
        except BaseException:
            os.close(lock)
            raise
        await self._threads.run(_make_and_close, make, lock, folder)

    async def _stop(self, job: Job) -> None:
        """End the process, which has nothing to do any more; if it does not end, it finds so when its time is up."""
        try:
            await job.stop()
        except JobError as error:
            self._log.warn("The process that would have undone a change does not end: {error}", error=error)

    async def _ended(self, job: Job) -> None:
        folder, result = job.records.path, job.result
        failures: list[str] = []
        if job.launched and result is not None and not result.abandoned:
            failures = await self._threads.run(_see_to_it, folder, result)
        await self._statuses.end(job)
        if await self._threads.run(decided, folder) == UNDONE:
            await self._tell((await self._statuses.about(job)).object, job.owner, failures)

    async def _tell(self, what: str, owner: str, failures: Sequence[str]) -> None:
        outcome = f"failed: {'; '.join(failures)}" if failures else "success"
        if failures:
            self._log.error("Not confirmed, and not wholly undone: {what} ({outcome})", what=what, outcome=outcome)
        else:
            self._log.warn("Not confirmed, so it was undone: {what}", what=what)
        entry = AuditEntry(
            surface="system", actor_kind="system", actor_name="", action=ACTION, object=what, outcome=outcome,
            details={"owner": owner},
        )  # fmt: skip
        try:
            await self._audit_log.record(entry)
        except DatabaseError as error:
            self._log.critical("Not in the audit log: {what} was undone: {error}", what=what, error=error)


def _command(folder: Path, seconds: int) -> list[str]:
    # -S: nothing of other packages is needed; -P: nothing from the working directory.
    return [sys.executable, "-S", "-P", "-m", _MODULE, str(folder), str(seconds)]


def _environment() -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPATH": str(_ROOT)}


def _write_plan(folder: Path, undo: Sequence[Request]) -> int:
    """Write down what undoes the change; return a descriptor that holds the lock on it."""
    path = folder / PLAN
    write_atomic(path, encode(undo))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make_and_close(make: Callable[[], object], lock: int, folder: Path) -> None:
    """Make the change once it can be undone, and let it be from then on: not before, even where nobody waits for it."""
    try:
        _wait_until_armed(folder)
        make()
        os.close(os.open(folder / MADE, os.O_CREAT | os.O_WRONLY, 0o600))
    except HostError:
        decide(folder, WITHDRAWN)
        raise
    finally:
        os.close(lock)


def _wait_until_armed(folder: Path) -> None:
    deadline = time.monotonic() + _ARMED_SECONDS
    while not (folder / ARMED).exists():
        if time.monotonic() > deadline:
            raise Unavailable("Not changed, since what would undo it does not start")
        time.sleep(0.005)


def _see_to_it(folder: Path, result: JobResult) -> list[str]:
    """Undo in the place of a process that was killed, or had no success. Blocking, while the change is being made."""
    with (folder / PLAN).open("rb") as plan:
        requests = decode(plan.read())
        fcntl.flock(plan, fcntl.LOCK_EX)
        first = decide(folder, UNDONE)
        if not first and (decided(folder) != UNDONE or result.succeeded):
            return []
        with Netlink() as net:
            return ensure(net, requests)


def _describe(about: About, result: JobResult, log: Path) -> str:
    """Say what became of a change. Blocking."""
    decision = decided(log.parent)
    if decision == CONFIRMED:
        return f"{about.object}: confirmed"
    if decision == UNDONE and not (log.parent / MADE).exists():
        return f"{about.object}: broken off, and undone"
    if decision == UNDONE:
        return f"{about.object}: not confirmed in time, and undone"
    return f"{about.object or 'A change'}: not made"
