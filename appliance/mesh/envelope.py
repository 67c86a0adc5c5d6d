"""The answers of the mesh surface: values as they are, refusals as `detail` (mesh contract, "errors")."""

import re
from collections.abc import Mapping

import msgspec

from appliance.database.errors import DatabaseError
from appliance.database.secret_box import Unsealable
from appliance.http.bodies import InvalidInput
from appliance.http.call import Call
from appliance.http.errors import HttpError, reason
from appliance.http.replies import FileReply, Reply
from appliance.http.unowned import union_error
from appliance.mesh.errors import (
    Denied,
    Gone,
    Invalid,
    MeshError,
    Missing,
    Overloaded,
    ProviderUnavailable,
    Taken,
    Unacceptable,
)

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}

_PLACE = re.compile(r"[^.\[\]]+")
_STATUSES: Mapping[type[MeshError], int] = {Unacceptable: 400, Denied: 403, Missing: 404, Taken: 409, Gone: 410}


class ErrorBody(msgspec.Struct):
    """A refusal, in words."""

    detail: str


class Mistake(msgspec.Struct):
    """What is wrong with a request: where (`body`, `query` or `path`, and the field), and why."""

    type: str
    loc: list[str | int]
    msg: str
    input: None = None


class MistakesBody(msgspec.Struct):
    """A refusal of a request that cannot be understood, or whose values make no sense."""

    detail: list[Mistake]


class MeshEnvelope:
    """Encodes values and refusals."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Encode a handler's value; the endpoint's declaration says its status."""
        status = call.endpoint.status if call.endpoint is not None else 200
        if value is None:
            return Reply(status, b"", headers=NO_STORE)
        return Reply(status, bytes(value) if isinstance(value, msgspec.Raw) else self._encode(value), headers=NO_STORE)

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Encode a refusal."""
        headers = {**NO_STORE, **error.headers}
        if isinstance(error, InvalidInput):
            mistake = Mistake("value_error", [error.where, *_place(error.field)], error.why)
            return Reply(422, self._encode(MistakesBody([mistake])), headers=headers)
        if error.status == 404 and (call is None or call.endpoint is None):
            return union_error(error)  # a path of nobody's
        detail = error.message or reason(error.status)
        return Reply(error.status, self._encode(ErrorBody(detail)), headers=headers)


def translate(error: Exception) -> HttpError | None:
    """Turn what the domain raises into answers; None for what is a defect of ours."""
    if isinstance(error, Invalid):
        return InvalidInput("body", error.field, error.why)
    if isinstance(error, MeshError):
        return HttpError(_STATUSES[type(error)], str(error))
    if isinstance(error, ProviderUnavailable):
        return HttpError(503, "The log-in provider cannot be reached", headers={"Retry-After": "5"})
    if isinstance(error, Overloaded):
        return HttpError(503, "Too much waits to be done at the moment", headers={"Retry-After": "5"})
    if isinstance(error, Unsealable):
        return HttpError(503, "The mesh's keys are encrypted under another master key than the one in use")
    if isinstance(error, DatabaseError):
        return HttpError(503, "The database cannot be used at the moment", headers={"Retry-After": "5"})
    return None


def unauthorized(message: str = "Not authenticated") -> HttpError:
    """A 401."""
    return HttpError(401, message, headers={"WWW-Authenticate": "Bearer"})


def _place(field: str) -> list[str | int]:
    """`inbound_rules[0].protocol` as its parts."""
    return [int(part) if part.isdigit() else part for part in _PLACE.findall(field)]
