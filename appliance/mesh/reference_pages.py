"""/api/docs and /api/redoc: the mesh's description in Swagger UI and in ReDoc, with `[mesh] debug` only.

Their files come from a package that is installed with `appliance[docs]`; nothing is fetched by the browser from
elsewhere.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes, bind
from appliance.http.errors import HttpError, not_found
from appliance.http.replies import FileReply, Reply
from appliance.http.router import Router
from appliance.http.surface import Surface
from appliance.http.web_root import EverybodyMayRead, NothingChanges
from appliance.identity.caller import anyone
from appliance.mesh.envelope import MeshEnvelope
from appliance.mesh.surface import PREFIX

PACKAGE = "fastapi_standalone_docs"
MISSING = "The pages need a package: install appliance[docs]"

# ReDoc searches in a worker that it makes itself; both write styles into the page.
_CSP = (
    "default-src 'none'; connect-src 'self'; font-src 'self' data:; img-src 'self' data:; script-src 'self';"
    " style-src 'self' 'unsafe-inline'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HTML = "text/html; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
_FILES: Mapping[str, tuple[str, str]] = {
    "swagger-ui-bundle.js": ("swagger/swagger-ui-bundle.js", _SCRIPT),
    "swagger-ui.css": ("swagger/swagger-ui.css", "text/css; charset=utf-8"),
    "redoc.standalone.js": ("redoc/redoc.standalone.js", _SCRIPT),
}
_SWAGGER = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Mesh API</title><link rel="stylesheet" href="/api/docs/swagger-ui.css"></head>
<body>
<div id="swagger-ui"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""
_START_SWAGGER = """\
SwaggerUIBundle({ url: '/api/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });
"""
_REDOC = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Mesh API</title></head>
<body>
<div id="redoc"></div>
<script src="/api/redoc/redoc.standalone.js"></script>
<script src="/api/redoc/start.js"></script>
</body>
</html>
"""
_START_REDOC = """\
Redoc.init('/api/openapi.json', { disableSearch: false, hideLogo: true }, document.getElementById('redoc'));
"""


class SwaggerPages:
    """/api/docs."""

    routes = Routes(prefix="/docs", tag="Documentation")

    @routes.get("", reply=bytes, who=anyone, listed=False, produces="text/html")
    async def swagger(self, call: Call) -> Reply:
        """The page."""
        _folder()
        return Reply(200, _SWAGGER.encode(), _HTML)

    @routes.get("/start.js", reply=bytes, who=anyone, listed=False, produces="text/javascript")
    async def start_swagger(self, call: Call) -> Reply:
        """What begins it."""
        return Reply(200, _START_SWAGGER.encode(), _SCRIPT)

    @routes.get("/<name>", reply=bytes, who=anyone, listed=False)
    async def swagger_file(self, call: Call, name: str) -> FileReply:
        """One of its files."""
        return _file(name)


class RedocPages:
    """/api/redoc."""

    routes = Routes(prefix="/redoc", tag="Documentation")

    @routes.get("", reply=bytes, who=anyone, listed=False, produces="text/html")
    async def redoc(self, call: Call) -> Reply:
        """The page."""
        _folder()
        return Reply(200, _REDOC.encode(), _HTML)

    @routes.get("/start.js", reply=bytes, who=anyone, listed=False, produces="text/javascript")
    async def start_redoc(self, call: Call) -> Reply:
        """What begins it."""
        return Reply(200, _START_REDOC.encode(), _SCRIPT)

    @routes.get("/<name>", reply=bytes, who=anyone, listed=False)
    async def redoc_file(self, call: Call, name: str) -> FileReply:
        """One of its files."""
        return _file(name)


def reference_pages() -> list[Surface]:
    """The surfaces of both pages, which may run their own scripts and nothing else."""
    return [_surface("/docs", bind(SwaggerPages())), _surface("/redoc", bind(RedocPages()))]


def _surface(path: str, endpoints: list[Endpoint]) -> Surface:
    return Surface(
        name="mesh",
        prefix=PREFIX + path,
        router=Router(PREFIX, endpoints),
        envelope=MeshEnvelope(),
        authenticator=EverybodyMayRead(),
        audit=NothingChanges(),
        csp=_CSP,
    )


def _folder() -> Path:
    """Where the package keeps its files, found without loading it. Raises a 503 where it is not installed."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise HttpError(503, MISSING)
    return Path(found.origin).parent / "static"


def _file(name: str) -> FileReply:
    known = _FILES.get(name)
    if known is None:
        raise not_found()
    return FileReply(_folder() / known[0], known[1])
