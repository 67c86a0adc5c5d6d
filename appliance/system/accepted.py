"""The answer 202: work has begun, and this is where it can be watched."""

from collections.abc import Mapping

import msgspec

from appliance.host.job_status import JobStatus
from appliance.http.call import Call
from appliance.http.replies import FileReply, Reply
from appliance.system.endpoints_document import PREFIX
from appliance.system.envelope import SystemEnvelope


def accepted(value: object, job: JobStatus, call: Call) -> Reply | FileReply:
    """`value`, in the envelope, with the place of its `job` (RFC 7240 section 4.1)."""
    reply = SystemEnvelope().encode(value, call)
    headers: Mapping[str, str] = {
        **reply.headers,
        "Location": f"{PREFIX}/jobs/{job.id}",
        "Preference-Applied": "respond-async",
    }
    return msgspec.structs.replace(reply, status=202, headers=headers)
