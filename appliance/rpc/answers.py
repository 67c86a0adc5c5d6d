"""Answers of any size: small ones from memory, large ones compressed in a thread and sent from a file."""

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from appliance.http.call import Call
from appliance.http.compression import accepts_gzip, compressed
from appliance.http.replies import FileReply, Reply
from appliance.rpc.call_jobs import CallJob
from appliance.rpc.envelope import NO_STORE, Success, finished
from appliance.rpc.models import JobData
from appliance.rpc.results import Result
from appliance.threads import Threads

IN_THREAD = 64 * 1024
"""Bytes from which on an answer is put together in a thread."""

FROM_FILE = 1 << 20
"""Bytes from which on an answer waits for a slow client on the disk and not in memory."""

_SUFFIX = ".answer"


class Answers:
    """Makes replies. `folder` is for the large ones, which lie there until they are opened for sending."""

    def __init__(self, threads: Threads, folder: Path) -> None:
        self._threads = threads
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, sweep what a killed server left. Blocking; raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.glob(f"*{_SUFFIX}"):
            path.unlink(missing_ok=True)

    async def of_result(self, call: Call, result: Result) -> Reply | FileReply:
        """The answer to a call."""
        if len(result.data) < IN_THREAD:
            return finished(result.status, result.body(), NO_STORE, call)
        return await self._threads.run(partial(self._large, call, result.status, result.body, {}))

    async def of_value(self, call: Call, value: Success) -> Reply | FileReply:
        """A good answer whose size is not known."""
        return await self.of_body(
            call, msgspec.json.encode({"code": value.code, "data": value.data, "message": value.message})
        )

    async def of_body(self, call: Call, body: bytes) -> Reply | FileReply:
        """A good answer as it stands."""
        if len(body) < IN_THREAD:
            return finished(200, body, NO_STORE, call)
        return await self._threads.run(partial(self._large, call, 200, lambda: body, {}))

    async def of_job(
        self, call: Call, job: CallJob, answer: bytes | None, message: str, *, status: int = 200
    ) -> Reply | FileReply:
        """The state of a job, around the answer of its call."""
        headers = {"Location": f"/api/ubus/jobs/{job.id}", "Preference-Applied": "respond-async"}
        extra = headers if status == 202 else {}
        make = partial(_job_body, job, answer, message, status)
        if answer is None or len(answer) < IN_THREAD:
            return finished(status, make(), {**NO_STORE, **extra}, call)
        return await self._threads.run(partial(self._large, call, status, make, extra))

    def _large(self, call: Call, status: int, make: Callable[[], bytes], extra: dict[str, str]) -> Reply | FileReply:
        body, headers = make(), {**NO_STORE, **extra}
        if accepts_gzip(call):
            body, headers = compressed(body), {**headers, "Content-Encoding": "gzip"}
        if len(body) < FROM_FILE:
            return Reply(status, body, headers=headers)
        path = self._folder / f"{secrets.token_hex(12)}{_SUFFIX}"
        path.touch(mode=0o600, exist_ok=False)
        try:
            path.write_bytes(body)
        except OSError:
            path.unlink()
            raise
        return FileReply(path, "application/json", headers, status, temporary=True)


def _job_body(job: CallJob, answer: bytes | None, message: str, code: int) -> bytes:
    data = JobData(
        id=job.id,
        object=job.object,
        method=job.method,
        status=job.status,
        progress=job.progress,
        created_at=job.created_at,
        ended_at=job.ended_at,
        answer=None if answer is None else msgspec.Raw(answer),
    )
    return msgspec.json.encode({"code": code, "data": data, "message": message})
