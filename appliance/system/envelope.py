"""The answers of the system surface: everything stands in one envelope (system contract, "Conventions")."""

from collections.abc import Mapping

import msgspec

from appliance.host.containers.errors import EngineError, NoRuntime
from appliance.host.errors import Conflict, Forbidden, Invalid, Unavailable, Unknown
from appliance.host.kubernetes.applying import Interrupted
from appliance.host.kubernetes.errors import ClusterAbsent, ClusterError, Rejected
from appliance.http.bodies import InvalidInput
from appliance.http.call import Call
from appliance.http.errors import HttpError, insufficient_storage, is_disk_full, reason
from appliance.http.replies import FileReply, Reply
from appliance.process.errors import AlreadyRunning, JobError, ProcessError

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}

CODES: Mapping[int, str] = {
    400: "INVALID_INPUT",
    401: "UNAUTHORIZED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    414: "URI_TOO_LONG",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
    431: "HEADERS_TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
    507: "INSUFFICIENT_STORAGE",
}
VALIDATION = "VALIDATION_ERROR"

_BEGIN = b'{"status":"success","data":'
_END = b',"error":null}'


class ErrorDetails(msgspec.Struct, omit_defaults=True):
    """What went wrong: a code for programs, a text for people, and where it helps the field and why."""

    code: str
    message: str
    details: str | None = None


class ErrorBody(msgspec.Struct):
    """A refusal."""

    error: ErrorDetails
    status: str = "error"
    data: None = None


class SystemEnvelope:
    """Wraps values as `{"status":"success","data":…,"error":null}` and refusals as `ErrorBody`."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Encode a handler's value; the endpoint's declaration says its status. `msgspec.Raw` is taken as encoded."""
        status = call.endpoint.status if call.endpoint is not None else 200
        body = bytes(value) if isinstance(value, msgspec.Raw) else self._encode(value)
        return Reply(status, b"".join((_BEGIN, body, _END)), headers=NO_STORE)

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Encode a refusal."""
        code = error.code or CODES.get(error.status, f"HTTP_{error.status}")
        details = None
        if isinstance(error, InvalidInput):
            code = error.code or VALIDATION
            details = f"{error.field}: {error.why}" if error.field else error.why
        elif "details" in error.fields:
            details = str(error.fields["details"])
        message = error.message or reason(error.status)
        body = self._encode(ErrorBody(ErrorDetails(code, message, details)))
        return Reply(error.status, body, headers={**NO_STORE, **error.headers})


def translate(error: Exception) -> HttpError | None:
    """Turn what the host's objects raise into answers; None for what is a defect of ours."""
    match error:
        case Invalid():
            return HttpError(400, str(error))
        case Forbidden():
            return HttpError(403, str(error))
        case Unknown():
            return HttpError(404, str(error))
        case Conflict():
            return HttpError(409, str(error))
        case EngineError():
            return HttpError(503, str(error), code="DOCKER_ERROR")
        case NoRuntime():
            return HttpError(503, str(error), code="NO_RUNTIME_AVAILABLE")
        case ClusterAbsent():
            return HttpError(503, str(error), code="KUBERNETES_NOT_INSTALLED")
        case ClusterError():
            return HttpError(503, str(error), code="KUBERNETES_ERROR")
        case Rejected():
            return HttpError(422, str(error), code="INVALID_INPUT")
        case Interrupted():
            known = translate(error.cause) or HttpError(500)
            return HttpError(known.status, str(error), code=known.code, fields={"details": error.details})
        case Unavailable():
            return HttpError(503, str(error))
        case AlreadyRunning():
            return HttpError(409, f"Another {error.kind} is running")
        case JobError() if is_disk_full(error.__cause__):
            return insufficient_storage()
        case JobError() | ProcessError():
            return HttpError(503, str(error))
    return None
