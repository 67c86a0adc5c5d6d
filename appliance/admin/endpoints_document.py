"""The description of the admin API, made from its endpoints' declarations."""

from collections.abc import Sequence

import msgspec

from appliance import __version__
from appliance.admin.endpoints_information import NO_CACHE, PREFIX
from appliance.admin.models import ErrorBody
from appliance.http import openapi
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes
from appliance.http.replies import Reply
from appliance.identity.caller import anyone

_SECURITY = {
    "hash": {
        "type": "apiKey",
        "in": "query",
        "name": "hash",
        "description": "HMAC-SHA256, in hex, of the method and the path without query (as `GET/api/v1/admin/version`) "
        "under the key that is the lower-case hex SHA-256 of the token.",
    },
    "token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "The API token itself; better send a hash or sign the request.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`HMAC-SHA256 timestamp=…, nonce=…, digest=…, signature=…`: signs method, path, query, "
        "time, nonce and body, one line each; a replay is refused.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API token in the Authorization header."},
}
_FORM_CREDENTIALS = {
    "hash": "Instead of the query: the hash, before any file.",
    "token": "Instead of the query: the token, before any file.",
}


class DocumentEndpoints:
    """openapi.json."""

    routes = Routes(tag="Documentation")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._encoded: bytes | None = None

    def document(self) -> dict[str, object]:
        """The OpenAPI 3.1 document of the endpoints that are on."""
        return openapi.document(
            "Admin API",
            __version__,
            self._endpoints,
            error=ErrorBody,
            prefix=PREFIX,
            description="Administers an appliance: updates, settings, certificates, licence, storage, backup, support.",
            security=_SECURITY,
            form_credentials=_FORM_CREDENTIALS,
        )

    @routes.get("/openapi.json", reply=dict[str, object], who=anyone, listed=False)
    async def openapi(self, call: Call) -> Reply:
        """This API as an OpenAPI 3.1 document."""
        if self._encoded is None:
            self._encoded = msgspec.json.encode(self.document())
        return Reply(200, self._encoded, headers=NO_CACHE)
