"""What became of long work: the status of a job by its id, while it runs, afterwards, and after a restart."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic
from appliance.host.errors import Unknown
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.records import JobFolder, JobResult
from appliance.threads import Threads

T = TypeVar("T")

Status = Literal["running", "success", "failure", "interrupted"]

_ID = re.compile(r"([a-z][a-z0-9_]{0,63})-([0-9]{8,12})")
_LIMIT = 64 * 1024


class JobStatus(msgspec.Struct, frozen=True):
    """How a job stands.

    `interrupted` is one whose end nobody saw: the machine went down, or server and supervisor were killed. `percentage`
    is null where its tool tells none; `object` is what it works on, `message` what there is to say about its end.
    """

    id: str
    kind: str
    status: Status
    percentage: int | None
    object: str
    message: str
    created_at: datetime


class About(msgspec.Struct, frozen=True):
    """What a job is for: the `object` it works on, and what is done to it, in words of its kind."""

    object: str = ""
    what: str = ""


class _Ending(msgspec.Struct):
    message: str = ""


class _Created(msgspec.Struct):
    created: float = 0.0


Describe = Callable[[About, JobResult, Path], str]
"""Says how a job ended, from what it was for, its result, and its log; called in a thread."""


class JobStatuses:
    """Keeps beside a job's own records what it is for and how it ended; they are removed together."""

    def __init__(self, jobs: Jobs, directory: Path, threads: Threads) -> None:
        """`directory` is that of `jobs`."""
        self._jobs = jobs
        self._directory = directory
        self._threads = threads
        self._kinds: dict[str, Describe] = {}

    def show(self, kind: str, describe: Describe) -> None:
        """Let the jobs of `kind` (without `-` in its name) be asked for."""
        self._kinds[kind] = describe

    async def begin(self, job: Job, about: About) -> None:
        """Record what a reserved job is for. Raises OSError."""
        await self._threads.run(_write, job.records.path / "about.json", about)

    async def end(self, job: Job) -> None:
        """Record how an ended job ended; may be called again. Raises OSError."""
        await self._threads.run(self._end, job)

    async def about(self, job: Job) -> About:
        """What a job is for."""
        return await self._threads.run(_about, job.records.path)

    async def look_up(self, id: str) -> JobStatus:
        """The status of the job with this id. Raises `Unknown`; a few of each kind are kept after their end."""
        found = _ID.fullmatch(id)
        if found is None or found[1] not in self._kinds:
            raise Unknown("There is no such job")
        kind, number = found.groups()
        # Looked at before the disk is: a job that has ended has its result there, one that has not ended is here.
        running = self._jobs.running(kind)
        if running is not None and (running.folder is None or running.records.path.name != number):
            running = None
        return await self._threads.run(self._status, kind, number, running)

    async def of(self, job: Job) -> JobStatus:
        """The status of a job at hand. Raises `Unknown` once its records are gone."""
        return await self.look_up(f"{job.kind}-{job.records.path.name}")

    def _end(self, job: Job) -> None:
        folder = job.records.path
        about = _about(folder)
        result = job.result or JobResult(interrupted=True)
        _write(folder / "ending.json", _Ending(self._kinds[job.kind](about, result, job.log or folder / "output.log")))

    def _status(self, kind: str, number: str, running: Job | None) -> JobStatus:
        folder = self._directory / kind / number
        created = _read(folder / "job.json", _Created)
        if created is None:
            raise Unknown("There is no such job")
        status, percentage = _ended(folder, kind) if running is None else ("running", running.percentage)
        return JobStatus(
            id=f"{kind}-{number}",
            kind=kind,
            status=status,
            percentage=percentage,
            object=_about(folder).object,
            message=(_read(folder / "ending.json", _Ending) or _Ending()).message,
            created_at=datetime.fromtimestamp(created.created, UTC),
        )


def _ended(folder: Path, kind: str) -> tuple[Status, int | None]:
    result = JobFolder(folder, kind, "", 0.0).probe().result
    if result is None or result.interrupted:
        return "interrupted", None
    return ("success", 100) if result.succeeded else ("failure", None)


def _about(folder: Path) -> About:
    return _read(folder / "about.json", About) or About()


def _write(path: Path, content: msgspec.Struct) -> None:
    write_atomic(path, msgspec.json.encode(content))


def _read(path: Path, type: type[T]) -> T | None:
    """The content of one of a job's files; None where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(read_limited(path, _LIMIT), type=type)
    except (OSError, FileTooLarge, NotARegularFile, msgspec.DecodeError, UnicodeDecodeError):
        return None
