"""What the disk knows of jobs: one folder each, `DIRECTORY/KIND/NUMBER`. Everything here blocks: call it in
threads.

    job.json      kind, owner, when: written before the reservation is answered. A folder without it was
    never promised command.json  what is to be run: written before it is (0600) lock          under flock
    while a supervisor lives process.json  who runs it, written by the supervisor before the program may
    start exit.json     how it ended, by the supervisor, or by the server for work without a process
    ended.json    its kind's on_end has been told: nothing is left to do
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.files import fsync_directory, read_limited, write_atomic
from appliance.process.watch import ProcessMark, boot_id

KEPT = 5
"""Ended jobs that stay on disk, of each kind."""

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class JobResult:
    """
    How a job ended.

    Exactly one of: `code` (it exited), `signal` (it was killed), `abandoned` (given up before it ran),
    `interrupted` (nobody saw its end: the machine, or both server and supervisor, went down). `reason`
    explains the last two.
    """

    code: int | None = None
    signal: int | None = None
    interrupted: bool = False
    abandoned: bool = False
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        """Exit code 0."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What can be known of a job at one moment: is it locked, which of its processes live, what was its
    end."""

    locked: bool
    supervisor: ProcessMark | None
    program: ProcessMark | None
    result: JobResult | None

    @property
    def live(self) -> bool:
        """Whether anything of it still runs, so that its end is still to come."""
        return self.locked or (self.result is None and self.program is not None)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The records of one job."""

    path: Path
    kind: str
    owner: str
    created: float

    @classmethod
    def create(cls, directory: Path, kind: str, owner: str, created: float) -> "JobFolder":
        """Make the durable record of a new job. Raises `OSError`, leaving nothing behind that counts."""
        parent = directory / kind
        if not parent.is_dir():
            parent.mkdir(mode=0o700)
            fsync_directory(directory)
        # Numbers and not times: small machines start with the clock of long ago.
        path = parent / f"{1 + max(_numbers(parent), default=0):08d}"
        path.mkdir(mode=0o700)
        try:
            write_atomic(path / "job.json", _encode({"kind": kind, "owner": owner, "created": created}))
            fsync_directory(parent)
        except BaseException:
            _remove(path)
            raise
        return cls(path, kind, owner, created)

    @classmethod
    def unfinished(cls, directory: Path) -> "list[JobFolder]":
        """Every job whose end was not acknowledged, oldest first; removes folders that no job was promised
        for."""
        found = []
        for parent in sorted(path for path in directory.iterdir() if path.is_dir()):
            for number in sorted(_numbers(parent)):
                path = parent / f"{number:08d}"
                record = _load(path / "job.json")
                if record is None:
                    _remove(path)
                elif not (path / "ended.json").exists():
                    created = record.get("created")
                    when = float(created) if isinstance(created, int | float) else 0.0
                    found.append(cls(path, parent.name, str(record.get("owner", "")), when))
        return found

    @property
    def launched(self) -> bool:
        """Whether a program was to be started."""
        return (self.path / "command.json").exists()

    @property
    def log(self) -> Path | None:
        """Where the program's output goes."""
        command = _load(self.path / "command.json")
        log = None if command is None else command.get("log")
        return Path(log) if isinstance(log, str) else None

    def prepare(self, command: dict[str, Any]) -> int:
        """Record what is to be run and return a descriptor that holds the lock; the caller closes it."""
        write_atomic(self.path / "command.json", _encode(command))
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fsync_directory(self.path)
        except BaseException:
            os.close(lock)
            raise
        return lock

    def probe(self) -> Probe:
        """Look at lock, processes and result, in this order: a supervisor writes the result before it lets
        go."""
        locked = self._locked()
        marks = _load(self.path / "process.json")
        if marks is not None and marks.get("boot_id") != boot_id():
            marks = None
        return Probe(
            locked=locked,
            supervisor=_live(marks, "pid", "start_time"),
            program=_live(marks, "child_pid", "child_start_time"),
            result=_result(_load(self.path / "exit.json")),
        )

    def write_result(self, result: JobResult) -> None:
        """Record the end of work that the server did itself."""
        content: dict[str, Any] = {"code": result.code, "signal": result.signal}
        if result.abandoned or result.interrupted:
            content["abandoned" if result.abandoned else "interrupted"] = result.reason
        write_atomic(self.path / "exit.json", _encode(content))

    def acknowledge(self) -> None:
        """Record that the end of this job has been dealt with."""
        write_atomic(self.path / "ended.json", b"{}")

    def prune(self) -> None:
        """Remove the oldest ended jobs of this kind, beyond `KEPT`."""
        parent = self.path.parent
        ended = [path for path in _folders(parent) if (path / "ended.json").exists()]
        for path in ended[:-KEPT]:
            _remove(path)

    def _locked(self) -> bool:
        try:
            lock = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def hold_directory(directory: Path) -> int:
    """
    Make `directory` ours: a descriptor that holds its flock, until closed or until this process is gone.

    Raises `BlockingIOError`, with the holder's pid as its text, while another server has it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace")
        os.close(descriptor)
        raise BlockingIOError(holder) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _folders(parent: Path) -> list[Path]:
    return [parent / f"{number:08d}" for number in sorted(_numbers(parent))]


def _numbers(parent: Path) -> Iterator[int]:
    return (int(path.name) for path in parent.iterdir() if path.name.isascii() and path.name.isdigit())


def _remove(path: Path) -> None:
    """Remove a job's folder, its record first: what is left after a crash must not look like an unfinished
    job."""
    (path / "job.json").unlink(missing_ok=True)
    fsync_directory(path)
    shutil.rmtree(path)


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode("ascii")


def _load(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is none, or no readable one."""
    try:
        content = json.loads(read_limited(path, _LIMIT))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _live(marks: dict[str, Any] | None, pid: str, start_time: str) -> ProcessMark | None:
    if marks is None or not isinstance(marks.get(pid), int) or not isinstance(marks.get(start_time), int):
        return None
    mark = ProcessMark(marks[pid], marks[start_time])
    return mark if mark.alive() else None


def _result(content: dict[str, Any] | None) -> JobResult | None:
    if content is None:
        return None
    if isinstance(content.get("abandoned"), str):
        return JobResult(abandoned=True, reason=content["abandoned"])
    if isinstance(content.get("interrupted"), str):
        return JobResult(interrupted=True, reason=content["interrupted"])
    if isinstance(content.get("code"), int):
        return JobResult(code=content["code"])
    if isinstance(content.get("signal"), int):
        return JobResult(signal=content["signal"])
    return None
