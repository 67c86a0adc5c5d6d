"""The replies about long work, and who wants to wait for it."""

import msgspec

from appliance.host.job_status import JobStatus
from appliance.http.call import Call


class JobReply(msgspec.Struct):
    """A job."""

    job: JobStatus


def wants_to_wait(call: Call) -> bool:
    """False where the client prefers an answer at once (`Prefer: respond-async`, RFC 7240 section 4.1)."""
    values = call.headers.getRawHeaders(b"prefer", [])
    preferences = b",".join(values).lower().split(b",")
    return not any(preference.partition(b";")[0].strip() == b"respond-async" for preference in preferences)
