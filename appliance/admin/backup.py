"""Backups and their restoration: both done by the script `backup`, restoration swapped in whole or not at all."""

from pathlib import Path

import msgspec

from appliance.admin.directory import AdminDirectory
from appliance.admin.errors import Missing, Refused
from appliance.admin.models import BackupStatus
from appliance.admin.scripts import Scripts
from appliance.admin.status import JsonStatus, note
from appliance.files import write_atomic
from appliance.http.uploads import Upload
from appliance.process.errors import AlreadyRunning
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.settings import Settings
from appliance.threads import Threads

KIND = "backup"
RESTORE_KIND = "restore"
ARCHIVE = "backup-archive.tar"


class Backups:
    """One backup and one restoration at a time."""

    def __init__(
        self, settings: Settings, directory: AdminDirectory, scripts: Scripts, jobs: Jobs, threads: Threads
    ) -> None:
        self._root = settings.backup_root
        self._directory = directory
        self._scripts = scripts
        self._jobs = jobs
        self._threads = threads
        self._reader = JsonStatus()
        self.log = directory.log / "update_backup.log"
        jobs.register(KIND, self._backup_ended)
        jobs.register(RESTORE_KIND, self._restore_ended)

    @property
    def archive(self) -> Path:
        """The finished backup."""
        return self._directory.uploads / "backup.tar"

    @property
    def _status(self) -> Path:
        return self._directory.uploads / "backup.json"

    async def start(self, owner: str) -> Job:
        """Start a backup. Raises `AlreadyRunning`."""
        job = await self._jobs.reserve(KIND, owner=owner)
        async with job:
            await self._threads.run(self._write, "running")
            await self._launch(job, "START")
        return job

    async def stop(self) -> None:
        """Stop a running backup and delete a finished one. Raises `Refused` where the script fails."""
        running = self._jobs.running(KIND)
        if running is not None:
            await running.stop()
        finished = await self._scripts.run(KIND, "STOP")
        if not finished.succeeded:
            raise Refused("Stopping the backup failed")

    async def status(self) -> BackupStatus:
        """Return how the backup goes. Raises `Missing` where there is none."""
        found = await self._threads.run(self._reader.read, self._status, BackupStatus)
        if found is None:
            raise Missing
        if self._jobs.running(KIND) is not None:
            return BackupStatus("running")
        return found

    async def ensure_idle(self) -> None:
        """Raise `AlreadyRunning` while a restoration runs."""
        if self._jobs.running(RESTORE_KIND) is not None:
            raise AlreadyRunning(RESTORE_KIND)

    async def restore(self, archive: Upload, owner: str) -> None:
        """Restore and wait for the end. Raises `AlreadyRunning`, or `Refused` when nothing was changed."""
        job = await self._jobs.reserve(RESTORE_KIND, owner=owner)
        async with job:
            await self._threads.run(archive.take, self._directory.uploads / ARCHIVE)
            await self._launch(job, "RESTORE")
        result = await job.wait()
        if result.code is None:
            raise Refused("The restoration was interrupted")
        if not result.succeeded:
            raise Refused("Invalid backup archive: nothing was restored")

    async def _launch(self, job: Job, argument: str) -> None:
        invocation = self._scripts.invocation(KIND, argument)
        log = self._directory.log / "backup_output.log"
        await job.launch(invocation.argv, env=invocation.env, log=log)

    async def _backup_ended(self, job: Job) -> None:
        await self._threads.run(self._settle, job.result is not None and job.result.succeeded)

    def _settle(self, succeeded: bool) -> None:
        found = self._reader.read(self._status, BackupStatus)
        if found is not None and found.status == "running" and not succeeded:
            self._write("failed")
            note(self.log, "Backup failed")

    async def _restore_ended(self, job: Job) -> None:
        """Whatever stopped it half-way: put back, or complete, what its journal says."""
        await self._threads.run(self._directory.clear_uploads, (ARCHIVE,))
        if job.result is None or not job.result.succeeded:
            await self._scripts.recover(self._root, self.log)

    def _write(self, status: str) -> None:
        write_atomic(self._status, msgspec.json.encode({"status": status}), mode=0o644)
