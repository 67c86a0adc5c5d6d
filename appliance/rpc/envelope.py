"""The answers of the rpc surface: `{"code","data","message"}`, some of them bare; gzip for those who take it."""

from collections.abc import Mapping

import msgspec

from appliance.database.errors import DatabaseError
from appliance.host.errors import Unknown
from appliance.http.bodies import InvalidInput
from appliance.http.call import Call
from appliance.http.compression import LEAST, accepts_gzip, compressed
from appliance.http.errors import HttpError, reason
from appliance.http.replies import FileReply, Reply
from appliance.http.unowned import union_error
from appliance.identity.accounts import AccountsUnavailable
from appliance.rpc.errors import malformed, unavailable

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}


class Success(msgspec.Struct, frozen=True):
    """A good answer inside the envelope; `code` is not always the status."""

    data: object
    message: str
    code: int = 200


class ErrorBody(msgspec.Struct):
    """A refusal. `data` says more, where there is more to say."""

    code: int
    data: object
    message: str


class RpcEnvelope:
    """Wraps `Success` and refusals; whatever else a handler returns is the answer as it stands."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Encode a handler's value."""
        status = call.endpoint.status if call.endpoint is not None else 200
        if isinstance(value, Success):
            value = {"code": value.code, "data": value.data, "message": value.message}
        return finished(status, self._encode(value), NO_STORE, call)

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Encode a refusal; a path that no endpoint has is answered as everywhere below /api."""
        if error.status == 404 and call is not None and call.endpoint is None:
            return union_error(error)
        if isinstance(error, InvalidInput):
            error = malformed(f"{error.field}: {error.why}" if error.field else error.why)
        body = ErrorBody(
            code=int(str(error.fields.get("code", error.status))),
            data=error.fields.get("data"),
            message=reason(error.status) if error.message is None else error.message,
        )
        return finished(error.status, self._encode(body), {**NO_STORE, **error.headers}, call)


def finished(status: int, body: bytes, headers: Mapping[str, str], call: Call | None) -> Reply:
    """The response with a small body, compressed where the client takes that."""
    if call is not None and len(body) >= LEAST and accepts_gzip(call):
        return Reply(status, compressed(body), headers={**headers, "Content-Encoding": "gzip"})
    return Reply(status, body, headers=headers)


def translate(error: Exception) -> HttpError | None:
    """Turn what domain objects raise anywhere into answers; None for what is a defect of ours."""
    match error:
        case Unknown():
            return HttpError(404, str(error))
        case AccountsUnavailable():
            return unavailable(str(error))
        case DatabaseError():
            return unavailable("the database is not available")
    return None
