"""Calling the methods of objects, at once or as a job."""

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from appliance.http.call import Call
from appliance.http.endpoints import RawBody, Routes
from appliance.http.replies import FileReply, Reply
from appliance.http.surface import AuditTrail
from appliance.process.eventual import Tasks
from appliance.rpc.access import AccessControl
from appliance.rpc.answers import Answers
from appliance.rpc.authenticator import caller_of, live
from appliance.rpc.builtin.object import Asker
from appliance.rpc.call_jobs import CallJob, CallJobs, TooManyJobs
from appliance.rpc.calls import Calls, NotGranted, Progress, SudoMissing
from appliance.rpc.envelope import Success
from appliance.rpc.errors import RpcError, malformed, sudo_required, too_many
from appliance.rpc.models import CallDescription, JobData
from appliance.rpc.payloads import Malformed, Requested
from appliance.rpc.results import Result
from appliance.rpc.sessions import Sessions

ACTION = "ubus.call"
BEGUN = "begun"
PAYLOAD_AUDITED = 16 * 1024
"""Bytes of a payload that the audit log shows; of a larger one it tells the size."""

_GONE = "failed: the client went away, or the server stopped"


class UbusEndpoints:
    """ubus/call, ubus/list, ubus/jobs/{id}."""

    routes = Routes(prefix="/ubus", tag="Calls")

    def __init__(
        self,
        calls: Calls,
        access: AccessControl,
        sessions: Sessions,
        jobs: CallJobs,
        answers: Answers,
        audit: AuditTrail,
    ) -> None:
        self._calls = calls
        self._access = access
        self._sessions = sessions
        self._jobs = jobs
        self._answers = answers
        self._audit = audit
        self._detached = Tasks()
        self._writing = Tasks()

    @routes.post(
        "/call",
        reply=Any,
        who=live,
        body=RawBody(CallDescription),
        audit=ACTION,
        statuses=(202, 500, 503),
        cancellable=True,
    )
    async def call_method(self, call: Call, body: bytes) -> Reply | FileReply:
        """Call a method of an object; `data` is what it answers.

        An object with a text `error` becomes a 500, one with `validation` a 400. With `Prefer: respond-async` the call
        runs as a job, and the answer (202) tells its id. A client that goes away ends its call, unless the settings say
        otherwise.
        """
        caller = caller_of(call)
        try:
            requested = await self._calls.decode(body)
        except Malformed as error:
            raise malformed(str(error)) from None
        del body
        call.audit_object = f"{requested.object} {requested.method}"
        call.audit_details = _details(requested)
        asker = await self._access.asker(caller.identity)
        try:
            self._calls.permit(requested, asker, in_sudo=self._sessions.in_sudo(caller.claims))
        except NotGranted:
            raise RpcError(403, "ubus call action forbidden", "method not allowed") from None
        except SudoMissing:
            raise sudo_required() from None
        if _wants_job(call):
            return await self._begin_job(call, requested, asker)
        written = self._write_down(call) if self._calls.is_audited(requested) else None
        result = await self._run(call, requested, asker)
        if written is not None:
            await written
        call.audit_outcome, call.audit_needless = result.in_words, result.status == 200
        return await self._answers.of_result(call, result)

    @routes.get("/list", reply=dict[str, dict[str, dict[str, Any]]], who=live)
    async def list_methods(self, call: Call) -> Reply | FileReply:
        """The objects and methods that the caller may call, and their arguments, typed by example."""
        asker = await self._access.asker(caller_of(call).identity)
        return await self._answers.of_value(call, Success(await self._calls.listing(asker), "ubus list action success"))

    @routes.get("/jobs/<id>", reply=JobData, who=live, statuses=(404, 503))
    async def show_job(self, call: Call, id: str) -> Reply | FileReply:
        """How a job of the caller stands, and what its call answered once it has ended; kept for a day."""
        job = await self._find(call, id)
        answer = await self._jobs.answer(job)
        return await self._answers.of_job(call, job, answer, "ubus job")

    @routes.delete("/jobs/<id>", reply=JobData, who=live, audit="ubus.job.cancel", statuses=(404, 503))
    async def cancel_job(self, call: Call, id: str) -> Reply | FileReply:
        """End a job that runs. One that has ended stays as it is."""
        await self._jobs.cancel(await self._find(call, id))
        job = await self._find(call, id)
        return await self._answers.of_job(call, job, await self._jobs.answer(job), "ubus job")

    def _write_down(self, call: Call) -> Deferred[None]:
        """Put a call into the audit log while it runs: what did not go well gets an entry of its own at the end."""
        return self._writing.start(self._audit.record(call, ACTION, BEGUN), "writing down a call")

    async def stop(self) -> None:
        """End the calls that have outlived their clients."""
        self._detached.cancel()
        await self._detached.finished()
        await self._writing.finished()

    async def _run(self, call: Call, requested: Requested, asker: Asker) -> Result:
        detached = self._calls.is_detached(requested)
        try:
            if detached:
                return await self._detached.start(self._run_audited(call, requested, asker), "running a call")
            return await self._run_typed(requested, asker)
        except CancelledError:
            call.audit_outcome = "goes on without its client" if detached else _GONE
            raise

    async def _run_audited(self, call: Call, requested: Requested, asker: Asker) -> Result:
        """Run a call to its end; where its client has gone by then, write down how it ended."""
        result = await self._run_typed(requested, asker)
        if call.audit_outcome is not None:
            await self._audit.record(call, ACTION, result.in_words)
        return result

    async def _run_typed(self, requested: Requested, asker: Asker, progress: Progress | None = None) -> Result:
        try:
            return await self._calls.run(requested, asker, progress)
        except Malformed as error:
            raise malformed(str(error)) from None

    async def _begin_job(self, call: Call, requested: Requested, asker: Asker) -> Reply | FileReply:
        async def work(id: str, progress: Progress) -> Result:
            result = await self._run_typed(requested, asker, progress)
            call.audit_details["job"] = id
            await self._audit.record(call, ACTION, result.in_words)
            return result

        try:
            job = await self._jobs.begin(asker.username, requested, work)
        except TooManyJobs as error:
            raise too_many(str(error), 1) from None
        call.audit_outcome = "begun as a job"
        call.audit_details["job"] = job.id
        return await self._answers.of_job(call, job, None, "ubus call action accepted", status=202)

    async def _find(self, call: Call, id: str) -> CallJob:
        identity = caller_of(call).identity
        return await self._jobs.find(id, None if identity.administers else identity.name)


def _wants_job(call: Call) -> bool:
    """Whether the client prefers an answer at once to the result (RFC 7240 section 4.1)."""
    values = call.headers.getRawHeaders(b"Prefer") or []
    preferences = b",".join(values).decode("latin-1").lower().split(",")
    return any(each.partition(";")[0].strip() == "respond-async" for each in preferences)


def _details(requested: Requested) -> dict[str, object]:
    if len(requested.payload) > PAYLOAD_AUDITED:
        return {"payload": f"<{len(requested.payload)} bytes>"}
    payload: Mapping[str, object] = msgspec.json.decode(requested.payload)
    return {"payload": payload} if payload else {}
