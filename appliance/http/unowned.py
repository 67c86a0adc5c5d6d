"""The paths below /api that no surface owns: one 404 that clients of every surface understand."""

from collections.abc import Mapping

import msgspec

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError, not_found, reason
from appliance.http.replies import FileReply, Reply
from appliance.http.surface import Surface
from appliance.identity.caller import Caller

PREFIX = "/api"


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


class _Nothing:
    """Finds no endpoint, so nobody is ever asked who he is, and nothing is written down."""

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Raise a 404."""
        raise not_found()

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Never asked."""
        raise not_found()

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """Never asked."""
        raise not_found()

    async def record(self, call: Call, action: str, outcome: str) -> None:
        """Never told."""

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Never given a value."""
        raise not_found()

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """The union form."""
        return union_error(error)


def unowned() -> Surface:
    """The surface of `/api`, until one that has paths of its own there takes its place."""
    nothing = _Nothing()
    return Surface(name="api", prefix=PREFIX, router=nothing, envelope=nothing, authenticator=nothing, audit=nothing)
