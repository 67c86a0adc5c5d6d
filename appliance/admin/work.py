"""Work in the background that has no status of its own to show: network settings and storage."""

from collections.abc import Mapping, Sequence

from appliance.admin.directory import AdminDirectory
from appliance.admin.scripts import JOB_SECONDS, Scripts
from appliance.files import write_atomic
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.threads import Threads


class HandOver:
    """Writes files into the hand-over folder and runs a script over them, one at a time of each kind."""

    def __init__(
        self,
        kind: str,
        names: Sequence[str],
        directory: AdminDirectory,
        scripts: Scripts,
        jobs: Jobs,
        threads: Threads,
    ) -> None:
        """`names` are those of all files that this kind of work hands over."""
        self._kind = kind
        self._names = tuple(names)
        self._directory = directory
        self._scripts = scripts
        self._jobs = jobs
        self._threads = threads
        jobs.register(kind, self._ended)

    async def start(self, files: Mapping[str, bytes], owner: str, argument: str | None = None) -> None:
        """Hand `files` over and start the script. Raises `AlreadyRunning`, the running one untouched."""
        job = await self._jobs.reserve(self._kind, owner=owner)
        async with job:
            for name, content in files.items():
                await self._threads.run(write_atomic, self._directory.uploads / name, content, mode=0o600)
            invocation = self._scripts.invocation(self._kind, argument)
            log = self._directory.log / f"{self._kind}_output.log"
            await job.launch(invocation.argv, env=invocation.env, log=log, time_limit=JOB_SECONDS)

    async def _ended(self, job: Job) -> None:
        """The script has logged how it went; what it left half-done when it was killed is put right."""
        await self._threads.run(self._directory.clear_uploads, self._names)
        if job.result is None or not job.result.succeeded:
            await self._scripts.recover(self._directory.root, self._directory.log / f"{self._kind}.log")
