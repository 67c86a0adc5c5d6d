"""What the system surface tells everybody: its description, and that it is alive."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance import __version__
from appliance.http import openapi
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes
from appliance.http.replies import Reply
from appliance.identity.caller import anyone
from appliance.system.envelope import NO_STORE, ErrorBody

PREFIX = "/api/v1"
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of `POST auth/login`, or one of `POST auth/tokens`.",
    }
}
_EVERYWHERE = (429,)
_DESCRIPTION = (
    "The host itself: network, disks, users, logs, figures, containers. What is live comes by WebSocket, from /ws."
)


class Health(msgspec.Struct):
    """The server answers; `time` is RFC 3339 in UTC."""

    status: Literal["healthy"]
    time: datetime
    version: str


class HealthEndpoints:
    """GET /health, at the root."""

    routes = Routes(tag="Health")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    @routes.get("/health", reply=Health, who=anyone, listed=False)
    async def health(self, call: Call) -> Health:
        """Whether the server answers."""
        return Health("healthy", datetime.fromtimestamp(self._clock.seconds(), UTC), __version__)


class DocumentEndpoints:
    """openapi.json."""

    routes = Routes(tag="Documentation")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._encoded: bytes | None = None

    def document(self) -> dict[str, object]:
        """The OpenAPI 3.1 document of the endpoints."""
        return openapi.document(
            "System API",
            __version__,
            self._endpoints,
            error=ErrorBody,
            prefix=PREFIX,
            description=_DESCRIPTION,
            security=_SECURITY,
            refusals=openapi.Refusals(always=(*openapi.ALWAYS, *_EVERYWHERE), closed=(401, 403)),
            envelope=enveloped,
        )

    @routes.get("/openapi.json", reply=dict[str, object], who=anyone, listed=False)
    async def openapi(self, call: Call) -> Reply:
        """This API as an OpenAPI 3.1 document."""
        if self._encoded is None:
            self._encoded = msgspec.json.encode(self.document())
        return Reply(200, self._encoded, headers=NO_STORE)


def enveloped(data: openapi.Schema) -> openapi.Schema:
    """The schema of a good answer around that of its data."""
    return {
        "type": "object",
        "properties": {"status": {"const": "success"}, "data": data, "error": {"type": "null"}},
        "required": ["status", "data", "error"],
    }
