"""Formatting: a job that outlives this server, begun only when nothing speaks against it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import DeferredLock

from appliance.background import Background
from appliance.host.errors import Conflict, HostError, Unavailable
from appliance.host.job_status import About, JobStatus, JobStatuses
from appliance.host.storage import sysfs
from appliance.host.storage.devices import Device, resolve
from appliance.host.storage.guards import Guard
from appliance.host.storage.makers import Maker, maker_of
from appliance.host.storage.progress import percentage_in
from appliance.host.storage.tool_words import last_words
from appliance.process.command import ENVIRONMENT
from appliance.process.errors import AlreadyRunning
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.reactor import sleep
from appliance.process.records import JobResult
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

KIND = "format"
TIME_LIMIT = 12 * 3600.0
"""Seconds after which a program that still formats is stopped: far more than the largest disk takes."""
_TOOL_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_TAIL = 8192
_TOO_SMALL = ("too small", "not enough space", "too few blocks", "must be larger", "minimum size")
_IN_USE = ("busy", "in use", "is mounted", "mounted filesystem")


class Formatting(msgspec.Struct, frozen=True):
    """A format that has begun, or ended: what there is to say, and its job."""

    message: str
    job: JobStatus


class Formats:
    """Formats one device at a time. `changed` is called when what lies on the devices is something else."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        runner: ProcessRunner,
        jobs: Jobs,
        statuses: JobStatuses,
        background: Background,
        lock: DeferredLock,
        changed: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._runner = runner
        self._jobs = jobs
        self._statuses = statuses
        self._background = background
        self._lock = lock
        self._changed = changed
        self._guard = Guard(threads, runner)
        jobs.register(KIND, self._ended)
        statuses.show(KIND, describe)

    def resume(self) -> None:
        """Watch the progress of a format that an earlier server began."""
        job = self._jobs.running(KIND)
        if job is not None:
            self._watch(job)

    async def format(self, path: str, filesystem: str, label: str = "", *, owner: str, wait: bool = True) -> Formatting:
        """Make a file system on the device at `path`; with `wait` return when it is made, else when that has begun.

        Raises `Invalid`, `Unknown`, `Conflict` or `Unavailable`, `AlreadyRunning` while another device is formatted;
        what lies on the device is untouched then, unless the failure says that formatting itself has failed.
        """
        maker = maker_of(filesystem)
        maker.check_label(label)
        device = await self._threads.run(resolve, path)
        _refuse_if_missing(maker)
        if self._jobs.running(KIND) is not None:
            raise AlreadyRunning(KIND)
        await self._check(device, maker)  # before there is a job: a refusal leaves no record of one
        await self._lock.acquire()
        try:
            job = await self._begin(device, maker, label, owner)
        finally:
            self._lock.release()
            self._changed()
        self._watch(job)
        if not wait:
            return Formatting(f"Formatting {device.path} as {filesystem} has begun", await self._statuses.of(job))
        result = await job.wait()
        status = await self._statuses.of(job)
        if not result.succeeded:
            raise _failure(status.message)
        return Formatting(status.message, status)

    async def _check(self, device: Device, maker: Maker) -> None:
        await self._guard.check(device)
        if device.size < maker.smallest:
            raise Conflict(f"{device.path} is too small for {maker.filesystem}: {maker.smallest >> 10} KiB at least")

    async def _begin(self, device: Device, maker: Maker, label: str, owner: str) -> Job:
        job = await self._jobs.reserve(KIND, owner=owner)
        async with job:
            await self._statuses.begin(job, About(device.path, maker.filesystem))
            await self._check(device, maker)
            await self._wipe(device)
            argv = maker.argv(device.path, label, whole_disk=not device.is_partition)
            await job.launch(argv, time_limit=TIME_LIMIT)
        return job

    async def _wipe(self, device: Device) -> None:
        """Erase every old signature, also such as the new file system would not reach, and the partitions with them.

        Else the end of a disk keeps a second partition table, and a FAT the superblock of what lay there before.
        wipefs claims the device as the maker will: whoever was quicker makes it fail.
        """
        finished = await self._runner.run(["wipefs", "--all", "--quiet", "--", device.path], timeout=_TOOL_SECONDS)
        if not finished.succeeded:
            raise Conflict(f"The old signatures on {device.path} cannot be erased: {last_words(finished.stderr)}")
        if await self._threads.run(sysfs.partitions, device.folder):  # wipefs cannot make every kernel forget them
            finished = await self._runner.run(["partx", "--delete", "--", device.path], timeout=_TOOL_SECONDS)
            if not finished.succeeded:
                raise Conflict(f"The partitions of {device.path} cannot be removed: {last_words(finished.stderr)}")

    async def _ended(self, job: Job) -> None:
        await self._statuses.end(job)
        self._changed()

    def _watch(self, job: Job) -> None:
        self._background.spawn("progress of a format", self._follow(job))

    async def _follow(self, job: Job) -> None:
        while job.result is None and job.log is not None:
            percentage = percentage_in(await self._threads.run(_tail, job.log))
            if percentage is not None:
                job.report(percentage)
            await sleep(self._reactor, _LOOK_SECONDS)


def describe(about: About, result: JobResult, log: Path) -> str:
    """Say how a format ended. Blocking."""
    if result.succeeded:
        return f"Formatted {about.object} as {about.what}"
    if result.abandoned:
        return f"{about.object} was not formatted: {result.reason}"
    if result.interrupted:
        return f"Formatting {about.object} as {about.what} was interrupted: what lies on it now is uncertain"
    why = last_words(_tail(log)) or f"exit code {result.code}"
    if result.signal is not None:
        why = f"the program was ended by signal {result.signal}"
    return f"{about.object} could not be formatted as {about.what}: {why}"


def _failure(message: str) -> HostError:
    small = message.lower()
    refused = any(words in small for words in (*_TOO_SMALL, *_IN_USE))
    return Conflict(message) if refused else Unavailable(message)


def _refuse_if_missing(maker: Maker) -> None:
    if shutil.which(maker.program, path=ENVIRONMENT["PATH"]) is None:
        raise Unavailable(f"{maker.program} is not installed on this system")


def _tail(log: Path) -> bytes:
    """The end of a log; nothing where there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read(_TAIL)
    except OSError:
        return b""
