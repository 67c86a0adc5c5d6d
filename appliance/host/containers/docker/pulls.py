"""Images brought from registries: jobs with progress, a few at a time, each image by one of them.

An engine pulls as long as it is listened to, so a pull ends with this server; its job is then told of as interrupted.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from appliance.background import Background
from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic
from appliance.host.containers.docker.client import EngineClient
from appliance.host.containers.docker.failures import DOCKER, by_words
from appliance.host.containers.docker.names import ImageReference
from appliance.host.containers.docker.progress import PullProgress
from appliance.host.containers.docker.wire import PullMessage
from appliance.host.containers.errors import EngineError
from appliance.host.errors import Conflict, HostError, Invalid, Unavailable
from appliance.host.job_status import About, JobStatus, JobStatuses
from appliance.host.outgoing.body import Body
from appliance.host.outgoing.json_lines import JsonLines
from appliance.process.eventual import Eventual
from appliance.process.job import Job
from appliance.process.jobs import Jobs
from appliance.process.reactor import within
from appliance.process.records import JobResult
from appliance.secret import Secret
from appliance.threads import Threads

KINDS = ("pull_1", "pull_2", "pull_3")
"""There is one job of a kind at a time; each of these is a place for a pull."""
CREDENTIALS = "X-Registry-Auth"
CREDENTIALS_LIMIT = 8192
STALL_SECONDS = 300.0
"""How long a registry may leave a pull without any news."""
_LINE_LIMIT = 64 * 1024
_REASON_LIMIT = 4096


class Pulled(msgspec.Struct, frozen=True):
    """A pull that has begun, or ended: what there is to say, the image, and its job."""

    message: str
    image: str
    success: bool
    job: JobStatus


class DockerPulls:
    """Pulls images."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: EngineClient,
        threads: Threads,
        jobs: Jobs,
        statuses: JobStatuses,
        background: Background,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._threads = threads
        self._jobs = jobs
        self._statuses = statuses
        self._background = background
        self._running: set[str] = set()
        for kind in KINDS:
            jobs.register(kind, statuses.end)
            statuses.show(kind, describe)

    async def pull(
        self, reference: ImageReference, *, credentials: Secret | None = None, owner: str, wait: bool = True
    ) -> Pulled:
        """Pull an image; with `wait` return when it is here, else when the pull has begun.

        Raises `EngineError` where no engine is there, `Conflict` while the image is being pulled already or too many
        are, and with `wait` what the pull fails with: `Unknown`, `Invalid`, `EngineError`.
        """
        image = str(reference)
        if image in self._running:
            raise Conflict(f"{image} is being pulled already")
        self._running.add(image)
        try:
            await self._client.engine()  # before there is a job: where no engine is, no record is left
            job = await self._begin(image, owner)
        except BaseException:
            self._running.discard(image)
            raise
        ended: Eventual[HostError | None] = Eventual()
        self._background.spawn("a pull", self._work(job, reference, credentials, ended))
        if not wait:
            return Pulled(f"Pulling {image} has begun", image, True, await self._statuses.of(job))
        error = await ended.wait()
        if error is not None:
            raise error
        return Pulled(f"Pulled {image}", image, True, await self._statuses.of(job))

    async def _begin(self, image: str, owner: str) -> Job:
        kind = next((kind for kind in KINDS if self._jobs.running(kind) is None), None)
        if kind is None:
            raise Conflict(f"{len(KINDS)} images are being pulled already; try again later")
        job = await self._jobs.reserve(kind, owner=owner)
        try:
            await self._statuses.begin(job, About(image, "pull"))
        except BaseException:
            await job.abandon("its record could not be made")
            raise
        return job

    async def _work(
        self, job: Job, reference: ImageReference, credentials: Secret | None, ended: Eventual[HostError | None]
    ) -> None:
        error: HostError | None = None
        try:
            try:
                await self._follow(job, reference, credentials)
            except HostError as failure:
                error = failure
            except CancelledError:
                raise  # the server stops; the job is found without an end by the next one
            except Exception:
                self._log.failure("A pull failed")
                error = Unavailable(f"{reference} could not be pulled")
            if error is not None:
                await self._threads.run(_write_reason, job.records.path / "output.log", str(error))
            await job.finish(0 if error is None else 1)
            self._running.discard(str(reference))  # before anybody hears of the end and tries again
            ended.set(error)
        finally:
            self._running.discard(str(reference))
            ended.refuse(Unavailable("The server stopped before the pull had ended"))

    async def _follow(self, job: Job, reference: ImageReference, credentials: Secret | None) -> None:
        headers = {CREDENTIALS: credentials.reveal()} if credentials is not None else {}
        query = {"fromImage": reference.repository, "tag": reference.version}
        body = await self._client.open("POST", "/images/create", query, headers=headers, seconds=STALL_SECONDS)
        try:
            messages, progress = JsonLines(PullMessage, _LINE_LIMIT, DOCKER), PullProgress()
            while data := await self._read(body, reference):
                for message in messages.feed(data):
                    _raise_error(message)
                    progress.take(message)
                job.report(progress.percentage)
            for message in messages.finish():
                _raise_error(message)
        finally:
            body.close()

    async def _read(self, body: Body, reference: ImageReference) -> bytes:
        try:
            return await within(self._reactor, STALL_SECONDS, Deferred.fromCoroutine(body.read()))
        except TimeoutError:
            raise EngineError(f"Nothing was heard of the pull of {reference} for {STALL_SECONDS:.0f} seconds") from None


def parse_credentials(header: str | None) -> Secret | None:
    """The credentials for a registry in Docker's form: JSON in base64 for URLs. Raises `Invalid`, without them."""
    if not header:
        return None
    try:
        if len(header) > CREDENTIALS_LIMIT:
            raise ValueError
        padded = header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4)
        msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=dict[str, object])
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        raise Invalid(CREDENTIALS, "a JSON object in base64, as of docker(1)") from None
    return Secret(padded)


def describe(about: About, result: JobResult, log: Path) -> str:
    """Say how a pull ended. Blocking."""
    if result.succeeded:
        return f"Pulled {about.object}"
    if result.abandoned:
        return f"{about.object} was not pulled: {result.reason}"
    if result.interrupted:
        return f"Pulling {about.object} was interrupted"
    try:
        reason = read_limited(log, _REASON_LIMIT).decode("utf-8", "replace")
    except (OSError, FileTooLarge, NotARegularFile):
        reason = "the reason is not known any more"
    return f"{about.object} could not be pulled: {reason}"


def _write_reason(path: Path, reason: str) -> None:
    write_atomic(path, reason.encode("utf-8", "replace")[:_REASON_LIMIT])


def _raise_error(message: PullMessage) -> None:
    """What goes wrong in the middle is told in the stream, under status 200."""
    error = message.error_detail.message if message.error_detail is not None else ""
    if error or message.error:
        raise by_words(error or message.error)
