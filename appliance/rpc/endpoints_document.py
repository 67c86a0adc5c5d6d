"""What the rpc surface tells of itself."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from appliance import __version__
from appliance.http import openapi
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import anyone
from appliance.rpc.answers import Answers
from appliance.rpc.envelope import ErrorBody

PREFIX = "/api"

Listing = Mapping[str, Mapping[str, Mapping[str, object]]]

_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of `POST /api/login`; `POST /api/sudo` gives one for what takes the password anew.",
    }
}
_BARE = frozenset({"LoginReply", "LogoutReply", "TwoFactorStatus", "RecoveryCodes"})


class DocumentEndpoints:
    """ubus/openapi.json."""

    routes = Routes(prefix="/ubus", tag="Documentation")

    def __init__(
        self, endpoints: Sequence[Endpoint], answers: Answers, listing: Callable[[Call], Awaitable[Listing | None]]
    ) -> None:
        """`listing` tells what whoever sent the call may call, None where he has sent no token."""
        self._endpoints = endpoints
        self._answers = answers
        self._listing = listing

    def document(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of the endpoints."""
        return openapi.document(
            "RPC API",
            __version__,
            self._endpoints,
            error=ErrorBody,
            prefix=PREFIX,
            description="Methods of objects, most of them executable plugins, behind log-in, second factor and ACLs.",
            security=_SECURITY,
            refusals=openapi.Refusals(always=(*openapi.ALWAYS, 429), closed=(401, 403)),
            envelope=enveloped,
        )

    @routes.get("/openapi.json", reply=dict[str, object], who=anyone, listed=False, name="rpc_openapi")
    async def openapi(self, call: Call) -> Reply | FileReply:
        """This API as an OpenAPI 3.1 document; for who sends a token, with the methods that he may call."""
        listing = await self._listing(call)
        document = self.document()
        if listing is not None:
            describe_methods(document, listing)
        return await self._answers.of_body(call, msgspec.json.encode(document))


def enveloped(data: openapi.Schema) -> openapi.Schema:
    """The schema of a good answer around that of its data; some answers have no envelope."""
    if str(data.get("$ref", "")).rpartition("/")[2] in _BARE:
        return data
    return {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "data": data, "message": {"type": "string"}},
        "required": ["code", "data", "message"],
    }


def describe_methods(document: dict[str, Any], listing: Listing) -> None:
    """Let the body of `ubus/call` be one of the calls in `listing`."""
    calls = [_call(object, method, each) for object, methods in listing.items() for method, each in methods.items()]
    content = document["paths"][f"{PREFIX}/ubus/call"]["post"]["requestBody"]["content"]
    for media in content.values():
        media["schema"] = {"oneOf": calls} if calls else False


def _call(object: str, method: str, arguments: Mapping[str, object]) -> openapi.Schema:
    payload = {"type": "object", "properties": {name: _schema(example) for name, example in arguments.items()}}
    return {
        "title": f"{object} {method}",
        "type": "object",
        "properties": {"path": {"const": object}, "method": {"const": method}, "payload": payload},
        "required": ["path", "method"],
    }


def _schema(example: object) -> openapi.Schema:
    """The schema of an argument whose type an example tells; a number is its own size in bits."""
    match example:
        case bool():
            return {"type": "boolean"}
        case str():
            return {"type": "string"}
        case int():
            return {"type": "integer", "format": f"int{example if example in (8, 16, 64) else 32}"}
        case float():
            return {"type": "number"}
        case dict():
            return {"type": "object"}
        case list():
            return {"type": "array"}
    return {"description": "Any JSON value."}
