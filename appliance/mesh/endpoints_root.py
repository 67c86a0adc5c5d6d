"""What the mesh tells everybody: that it is there, that it is well, and its description."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from appliance import __version__
from appliance.http import openapi
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes
from appliance.http.replies import Reply
from appliance.identity.caller import anyone
from appliance.mesh.envelope import NO_STORE, ErrorBody
from appliance.mesh.surface import PREFIX

_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user's token, or on the endpoints of devices a device's.",
    }
}


class Root(msgspec.Struct):
    """The API itself."""

    name: str
    version: str
    status: Literal["operational"] = "operational"


class Health(msgspec.Struct):
    """It answers."""

    status: Literal["healthy"] = "healthy"


class Analytics(msgspec.Struct):
    """Nobody is watched."""

    plausible: None = None
    gaMeasurementId: None = None
    customScripts: list[str] = []


class PublicConfig(msgspec.Struct):
    """What a web interface asks for before anybody has logged in."""

    analytics: Analytics


class RootEndpoints:
    """GET /api, health, public-config, openapi.json."""

    routes = Routes(tag="Root")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._encoded: bytes | None = None

    def document(self) -> dict[str, object]:
        """The OpenAPI 3.1 document of the endpoints."""
        return openapi.document(
            "Mesh API",
            __version__,
            self._endpoints,
            error=ErrorBody,
            prefix=PREFIX,
            description="Overlay networks of Nebula: networks, nodes, certificates, devices, users.",
            security=_SECURITY,
            refusals=openapi.Refusals(always=(*openapi.ALWAYS, 422, 429, 503), closed=(401,)),
        )

    @routes.get("", reply=Root, who=anyone)
    async def root(self, call: Call) -> Root:
        """The name and version of this API."""
        return Root("appliance mesh", __version__)

    @routes.get("/health", reply=Health, who=anyone)
    async def health(self, call: Call) -> Health:
        """Whether the server answers."""
        return Health()

    @routes.get("/public-config", reply=PublicConfig, who=anyone)
    async def public_config(self, call: Call) -> PublicConfig:
        """What a web interface needs to know before anybody has logged in."""
        return PublicConfig(Analytics())

    @routes.get("/openapi.json", reply=dict[str, object], who=anyone, listed=False)
    async def openapi(self, call: Call) -> Reply:
        """This API as an OpenAPI 3.1 document."""
        if self._encoded is None:
            self._encoded = msgspec.json.encode(self.document())
        return Reply(200, self._encoded, headers=NO_STORE)
