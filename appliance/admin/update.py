"""Updates of the system: one at a time, run by a script that outlives us, its status never left lying."""

from pathlib import Path

import msgspec

from appliance.admin.directory import AdminDirectory
from appliance.admin.models import UpdateStatus
from appliance.admin.scripts import Scripts
from appliance.admin.status import UpdateFiles, note, tail
from appliance.http.uploads import Upload
from appliance.process.errors import AlreadyRunning
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from appliance.threads import Threads

KIND = "update"
PACKAGE = "software_package-zzz.enc"
SCRIPT_ERROR = "E1000"


class Updates:
    """Takes packages and tells how the update goes.

    The script writes its own status; only where it could not (killed, crashed, the machine went down) do we complete
    it, from how the job ended.
    """

    def __init__(self, directory: AdminDirectory, scripts: Scripts, jobs: Jobs, threads: Threads) -> None:
        self._directory = directory
        self._scripts = scripts
        self._jobs = jobs
        self._threads = threads
        self._files = UpdateFiles(directory)
        jobs.register(KIND, self._ended)

    async def ensure_idle(self) -> None:
        """Raise `AlreadyRunning`, noting the refusal in the log, while an update runs."""
        if self._jobs.running(KIND) is not None:
            await self._note_refusal()
            raise AlreadyRunning(KIND)

    async def start(self, package: Upload, owner: str) -> None:
        """Hand the package over and start the update. Raises `AlreadyRunning`."""
        try:
            job = await self._jobs.reserve(KIND, owner=owner)
        except AlreadyRunning:
            await self._note_refusal()
            raise
        async with job:
            await self._threads.run(self._files.begin)
            await self._threads.run(package.take, self._directory.uploads / PACKAGE)
            await self._threads.run(note, self._files.log, f"Received update package, sha256 {package.sha256}")
            invocation = self._scripts.invocation(KIND)
            log = self._directory.log / "update_output.log"
            await job.launch(invocation.argv, env=invocation.env, log=log)

    async def status(self) -> UpdateStatus:
        """Return the status as the reference shows it."""
        status = await self._threads.run(self._read)
        if self._jobs.running(KIND) is not None:
            # The script's last word comes a moment before it has ended and the next update may start.
            status.status = "running"
            status.error_message = status.error_code = msgspec.UNSET
        return status

    @property
    def log(self) -> Path:
        """Where the whole log is."""
        return self._files.log

    def _read(self) -> UpdateStatus:
        progress = self._files.progress()
        log = tail(self._files.log)
        if progress is None:
            return UpdateStatus(None, log=log)
        status = UpdateStatus(progress.status, log=log)
        if progress.percentage is not None:
            status.percentage = progress.percentage
        if progress.status == "failed":
            message, code = self._files.error()
            if message is not None:
                status.error_message = message
            if code is not None:
                status.error_code = code
        return status

    async def _note_refusal(self) -> None:
        await self._threads.run(note, self._files.log, "Update is already running")

    async def _ended(self, job: Job) -> None:
        await self._threads.run(self._settle, job.result or JobResult(interrupted=True))

    def _settle(self, result: JobResult) -> None:
        progress = self._files.progress()
        said = progress.status if progress is not None else None
        if result.succeeded:
            if said != "success":
                self._files.succeed()
        elif result.code is None and not result.abandoned:
            # Killed, or nobody saw how it ended; the script's own last word counts where it had come to one.
            if said not in ("success", "failed"):
                self._files.fail("interrupted" if result.interrupted else "Script error", SCRIPT_ERROR)
        elif said != "failed" or self._files.error()[1] is None:
            self._files.fail("Script error", SCRIPT_ERROR)
