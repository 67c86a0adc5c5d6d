"""The paths below /api that no surface owns: one 404 that clients of every surface understand."""

import msgspec

from appliance.http.errors import HttpError, reason
from appliance.http.replies import Reply


class UnionError(msgspec.Struct):
    """A refusal in the forms of the rpc and the mesh surface at once."""

    code: int
    message: str
    detail: str
    data: None = None


def union_error(error: HttpError) -> Reply:
    """Encode a refusal in both forms."""
    message = "API not found" if error.status == 404 else error.message or reason(error.status)
    detail = error.message or reason(error.status)
    body = msgspec.json.encode(UnionError(error.status, message, detail))
    return Reply(error.status, body, headers={"Cache-Control": "no-store", **error.headers})
