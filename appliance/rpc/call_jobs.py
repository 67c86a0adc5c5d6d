"""Calls that run as jobs: begun with one request, followed and fetched with others."""

import re
import secrets
import sqlite3
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from appliance.database.errors import DatabaseError
from appliance.database.thread import Database
from appliance.files import remove_temporaries, write_atomic
from appliance.host.errors import Unknown
from appliance.process.eventual import Eventual, Tasks
from appliance.rpc.payloads import Requested
from appliance.rpc.results import Result
from appliance.threads import Threads

KEPT_SECONDS: Final = 24 * 3600
JOBS_KEPT: Final = 1000
RUNNING_PER_USER: Final = 20

Status = Literal["running", "success", "failed", "cancelled", "interrupted"]
Work = Callable[[str, Callable[[int], None]], Coroutine[Any, Any, Result]]
"""What a job does; it is given the job's id and the function to tell its progress by."""

_ID = re.compile(r"[0-9a-f]{24}")


class TooManyJobs(Exception):
    """A user has as many running as there may be."""


class CallJob(msgspec.Struct, frozen=True, kw_only=True):
    """A call and how it stands. Times are seconds, `progress` a percentage."""

    id: str
    username: str
    object: str
    method: str
    status: Status
    progress: int | None
    created_at: int
    ended_at: int | None


class CallJobs:
    """
    The jobs of this surface. `prepare` and `load` come before all else, `stop` at the end.

    A row is in the database before the call begins, so that one that a crash ended shows as interrupted. Results are
    files, for they may be large; row and result are kept for a day.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, database: Database, threads: Threads, folder: Path) -> None:
        self._clock = clock
        self._database = database
        self._threads = threads
        self._folder = folder
        self._running: dict[str, CallJob] = {}
        self._calls: dict[str, Deferred[Result]] = {}
        self._ended: dict[str, Eventual[None]] = {}
        self._tasks = Tasks()
        self._stopping = False

    def prepare(self) -> None:
        """Make the folder, sweep what a killed server left. Blocking; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_temporaries(self._folder)

    async def load(self) -> None:
        """Tell the truth of what an earlier server was at when it was killed."""
        await self._database.run_on_driver(partial(_interrupt, now=self._now()))

    async def begin(self, username: str, requested: Requested, work: Work) -> CallJob:
        """Start `work`; durable on return. Raises `TooManyJobs` and what `Database.run` raises."""
        if sum(job.username == username for job in self._running.values()) >= RUNNING_PER_USER:
            raise TooManyJobs(f"{RUNNING_PER_USER} jobs of this user run already")
        job = CallJob(
            id=secrets.token_hex(12),
            username=username,
            object=requested.object,
            method=requested.method,
            status="running",
            progress=None,
            created_at=self._now(),
            ended_at=None,
        )
        self._running[job.id] = job
        try:
            await self._database.run_on_driver(partial(_insert, job=job))
        except BaseException:
            del self._running[job.id]
            raise
        self._ended[job.id] = Eventual()
        self._tasks.background(self._follow(job.id, work), "running a call as a job")
        return self._running.get(job.id, job)

    async def find(self, id: str, username: str | None) -> CallJob:
        """A job of `username`, or of anybody. Raises `Unknown`."""
        running = self._running.get(id)
        job = running or await self._stored(id)
        if job is None or username not in (None, job.username):
            raise Unknown("job not found")
        return job

    async def answer(self, job: CallJob) -> bytes | None:
        """The whole answer of the call of a job that has ended, JSON; None where there is none."""
        if job.status not in ("success", "failed"):
            return None
        try:
            return await self._threads.run(self._path(job.id).read_bytes)
        except FileNotFoundError:
            return None

    async def cancel(self, job: CallJob) -> None:
        """End the call of a job that runs; its job has ended on return. Does nothing to one that has ended."""
        call, ended = self._calls.get(job.id), self._ended.get(job.id)
        if call is not None and ended is not None:
            call.cancel()
            await ended.wait()

    async def prune(self) -> None:
        """Forget jobs that ended a day ago, and all but the youngest thousand."""
        work = partial(_prune, before=self._now() - KEPT_SECONDS)
        for id in await self._database.run_on_driver(work):
            await self._threads.run(partial(self._path(id).unlink, missing_ok=True))

    async def stop(self) -> None:
        """End all calls; their jobs show as interrupted."""
        self._stopping = True
        for call in list(self._calls.values()):
            call.cancel()
        await self._tasks.finished()

    async def _follow(self, id: str, work: Work) -> None:
        """Run the call of a job to its end and write that down, whatever it is."""
        result: Result | None = None
        status: Status = "interrupted"
        try:
            result = await self._call(id, work)
            status = "success" if result.status == 200 else "failed"
        except CancelledError:
            status = "interrupted" if self._stopping else "cancelled"
        except Exception:
            self._log.failure("The call of job {id} failed", id=id)
        try:
            if result is not None:
                await self._threads.run(write_atomic, self._path(id), result.body())
            job = self._running[id]
            progress = 100 if status == "success" else job.progress
            ended = msgspec.structs.replace(job, status=status, progress=progress, ended_at=self._now())
            await self._database.run_on_driver(partial(_end, job=ended))
        except (OSError, DatabaseError) as error:
            self._log.error(
                "The end of job {id} is not stored, it will show as interrupted: {error}", id=id, error=error
            )
            await self._threads.run(partial(self._path(id).unlink, missing_ok=True))
        finally:
            del self._running[id]
            self._ended.pop(id).set(None)

    async def _call(self, id: str, work: Work) -> Result:
        def told(percentage: int) -> None:
            job = self._running.get(id)
            if job is not None:
                self._running[id] = msgspec.structs.replace(job, progress=max(0, min(100, percentage)))

        call = Deferred.fromCoroutine(work(id, told))
        self._calls[id] = call
        try:
            return await call
        finally:
            del self._calls[id]

    async def _stored(self, id: str) -> CallJob | None:
        if _ID.fullmatch(id) is None:
            return None
        return await self._database.run_on_driver(partial(_find, id=id))

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _now(self) -> int:
        return int(self._clock.seconds())


# In the database thread.


def _insert(connection: sqlite3.Connection, job: CallJob) -> None:
    connection.execute(_INSERT, msgspec.structs.asdict(job))


def _end(connection: sqlite3.Connection, job: CallJob) -> None:
    update = "UPDATE rpc_jobs SET status = :status, progress = :progress, ended_at = :ended_at WHERE id = :id"
    connection.execute(update, msgspec.structs.asdict(job))


def _interrupt(connection: sqlite3.Connection, now: int) -> None:
    update = "UPDATE rpc_jobs SET status = 'interrupted', ended_at = ? WHERE status = 'running'"
    connection.execute(update, (now,))


def _find(connection: sqlite3.Connection, id: str) -> CallJob | None:
    row = connection.execute(_SELECT, (id,)).fetchone()
    return None if row is None else CallJob(**dict(zip(CallJob.__struct_fields__, row, strict=True)))


def _prune(connection: sqlite3.Connection, before: int) -> list[str]:
    query = """
        SELECT id FROM rpc_jobs WHERE status <> 'running' AND (ended_at < ? OR id NOT IN
            (SELECT id FROM rpc_jobs ORDER BY created_at DESC LIMIT ?))"""
    ids = [id for (id,) in connection.execute(query, (before, JOBS_KEPT)).fetchall()]
    connection.executemany("DELETE FROM rpc_jobs WHERE id = ?", [(id,) for id in ids])
    return ids


_SELECT = """
    SELECT id, username, object, method, status, progress, created_at, ended_at FROM rpc_jobs WHERE id = ?"""
_INSERT = """
    INSERT INTO rpc_jobs (id, username, object, method, status, progress, created_at, ended_at)
    VALUES (:id, :username, :object, :method, :status, :progress, :created_at, :ended_at)"""
