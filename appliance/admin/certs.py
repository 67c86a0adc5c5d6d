"""TLS certificates: checked by us, accepted by the script, then served to the next handshake."""

from datetime import UTC, datetime

from appliance.admin.directory import AdminDirectory
from appliance.admin.models import CertsStatus
from appliance.admin.scripts import JOB_SECONDS, Scripts
from appliance.admin.status import note, read_word, tail
from appliance.background import Background
from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic
from appliance.http.certificates import CertificateError, Pair, Reason, check
from appliance.http.tls import CertificateStore
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from appliance.threads import Threads

KIND = "certs"
_LIMIT = 1024 * 1024
_NAMES = ("appliance.pem", "appliance.key", "ca.pem")


class Certificates:
    """Takes a new pair in the background; its status and log say how it went."""

    def __init__(
        self,
        directory: AdminDirectory,
        scripts: Scripts,
        jobs: Jobs,
        store: CertificateStore,
        threads: Threads,
        background: Background,
    ) -> None:
        self._directory = directory
        self._scripts = scripts
        self._jobs = jobs
        self._store = store
        self._threads = threads
        self._background = background
        self._status = directory.etc / "status_certs.txt"
        self._log = directory.log / "update_certs.log"
        jobs.register(KIND, self._ended)

    async def start(self, public: bytes, private: bytes, ca: bytes | None, owner: str) -> None:
        """Begin; returns once the status is `running`. Raises `AlreadyRunning`."""
        job = await self._jobs.reserve(KIND, owner=owner)
        try:
            await self._threads.run(self._write, "running")
        except BaseException:
            await job.abandon("its status cannot be written")
            raise
        self._background.spawn("certificates", self._install(job, public, private, ca))

    async def status(self) -> CertsStatus:
        """Return status and last log lines, nulls where there was no change yet."""
        running = self._jobs.running(KIND) is not None
        status = "running" if running else await self._threads.run(read_word, self._status)
        return CertsStatus(status, await self._threads.run(tail, self._log))

    async def _install(self, job: Job, public: bytes, private: bytes, ca: bytes | None) -> None:
        async with job:
            try:
                await self._threads.run(check, public, private, ca, datetime.now(UTC))
            except CertificateError as error:
                await self._threads.run(self._fail, error.reason, error.detail)
                await job.finish(1)
                return
            await self._threads.run(self._hand_over, (public, private, ca))
            invocation = self._scripts.invocation(KIND)
            log = self._directory.log / "certs_output.log"
            await job.launch(invocation.argv, env=invocation.env, log=log, time_limit=JOB_SECONDS)

    async def _ended(self, job: Job) -> None:
        """Serve what the script accepted; after a crash in between this runs again and does the same."""
        result = job.result or JobResult(interrupted=True)
        await self._threads.run(self._directory.clear_uploads, _NAMES)
        if result.succeeded:
            try:
                await self._store.install(await self._threads.run(self._accepted))
            except CertificateError as error:
                await self._threads.run(self._fail, error.reason, error.detail)
            except (OSError, FileTooLarge, NotARegularFile) as error:
                await self._threads.run(self._fail, "script error", str(error))
            else:
                await self._threads.run(self._write, "success")
        else:
            await self._scripts.recover(self._directory.root, self._log)
            await self._threads.run(self._fail, "interrupted" if result.interrupted else "script error")

    def _fail(self, why: str, detail: str = "") -> None:
        """Say why once: after a checked failure the job's end comes here again."""
        if read_word(self._status) == "failed":
            return
        if detail:
            note(self._log, detail)
        note(self._log, f"Failed updating TLS certificates: {why}")
        self._write("failed")

    def _write(self, status: str) -> None:
        write_atomic(self._status, f"{status}\n".encode(), mode=0o644)

    def _hand_over(self, contents: tuple[bytes, bytes, bytes | None]) -> None:
        for name, content in zip(_NAMES, contents, strict=True):
            path = self._directory.uploads / name
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_atomic(path, content, mode=0o600)

    def _accepted(self) -> Pair:
        """The pair the script has moved to `A/etc`.

        It was checked with its chain before; a ca.pem that does not belong to it is what an earlier pair left.
        """
        public, private, ca = (self._directory.etc / name for name in _NAMES)
        leaf, key, now = read_limited(public, _LIMIT), read_limited(private, _LIMIT), datetime.now(UTC)
        if ca.exists():
            try:
                return check(leaf, key, read_limited(ca, _LIMIT), now)
            except CertificateError as error:
                if error.reason is not Reason.BROKEN_CHAIN:
                    raise
        return check(leaf, key, None, now)
