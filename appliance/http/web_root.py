"""What answers for every path that no API owns: the web interface at `/` and the documentation at `/docs`."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec
from twisted.internet.interfaces import IReactorTime

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError, MethodNotAllowed, not_found, reason
from appliance.http.replies import FileReply, Reply
from appliance.http.static_files import StaticFile, StaticFiles, is_unchanged
from appliance.http.surface import Surface
from appliance.identity.caller import Caller, anyone
from appliance.threads import Threads

NAME = "web"
INDEX = "index.html"
DOCS = "docs"
API_PREFIXES = ("/api", "/ws", "/health", "/metrics")
DASHBOARD_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; object-src 'self'"
)

_METHODS = frozenset({"GET", "HEAD"})
_REVALIDATE = "no-cache"
_HTML = "text/html; charset=utf-8"

PageHeaders = Callable[[], Mapping[str, str]]


def web_root(
    clock: IReactorTime,
    threads: Threads,
    folder: Path,
    documentation: Callable[[], bytes],
    *,
    csp: str,
    page_headers: PageHeaders = dict,
    reserved: Collection[str] = API_PREFIXES,
) -> Surface:
    """Make the surface that serves the built web interface in `folder`.

    A GET of a path that is no file and has no extension is answered with `index.html`: the interface's own
    routes. `documentation` makes the page of `/docs`, once, in a thread; a `docs/index.html` of the folder
    comes before it. `page_headers` are asked for at every answer with one of these pages. What lies under a
    `reserved` prefix is never a page: an API that does not exist is a 404.
    """
    files = StaticFiles(clock, threads, folder)
    return _surface(WebRoot(files, threads, documentation, page_headers, reserved, own_routes=True), csp)


def dashboard(
    clock: IReactorTime,
    threads: Threads,
    folder: Path,
    documentation: Callable[[], bytes],
    *,
    csp: str = DASHBOARD_CSP,
    page_headers: PageHeaders = dict,
    reserved: Collection[str] = API_PREFIXES,
) -> Surface:
    """Make the surface of a vendor's stock dashboard: `index.html` at `/`, its folder `docs` at `/docs/`.

    Nothing else of `folder` is served. The arguments are those of `web_root`.
    """
    files = StaticFiles(clock, threads, folder, only=(INDEX, DOCS))
    return _surface(WebRoot(files, threads, documentation, page_headers, reserved, own_routes=False), csp)


def _surface(router: "WebRoot", csp: str) -> Surface:
    return Surface(
        name=NAME,
        prefix="",
        router=router,
        envelope=WebEnvelope(),
        authenticator=EverybodyMayRead(),
        audit=NothingChanges(),
        csp=csp,
    )


class WebRoot:
    """Answers GET and HEAD with files and pages; implements `Finder` with one endpoint for all paths."""

    def __init__(
        self,
        files: StaticFiles,
        threads: Threads,
        documentation: Callable[[], bytes],
        page_headers: PageHeaders,
        reserved: Collection[str],
        *,
        own_routes: bool,
    ) -> None:
        self._files = files
        self._threads = threads
        self._make_documentation = documentation
        self._documentation: bytes | None = None
        self._page_headers = page_headers
        self._reserved = tuple(reserved)
        self._own_routes = own_routes
        self._endpoint = Endpoint(
            name="web",
            method="GET",
            path="/",
            tag="",
            who=anyone,
            handler=self.answer,
            reply=bytes,
            body=None,
            query=None,
            audit=None,
            status=200,
            statuses=(404,),
            produces="text/html",
            cancellable=True,
            listed=False,
            summary="",
            description="",
            guard=self.refuse_other_methods,
        )

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Return the one endpoint. Raises a 404 for what only an API could answer."""
        if any(path == prefix or path.startswith(prefix + "/") for prefix in self._reserved):
            raise not_found()
        return self._endpoint, {}

    async def refuse_other_methods(self, call: Call) -> None:
        """Refuse to write: 405 where there is something to read, else 404."""
        if call.method in _METHODS:
            return
        if await self._find_file(call.path) is None and not _is_docs(call.path):
            raise not_found()
        raise MethodNotAllowed(call.method, _METHODS)

    async def answer(self, call: Call) -> Reply | FileReply:
        """Answer with a file, a page, or a 304 where the client holds it already. Raises a 404."""
        found = await self._find_file(call.path)
        if found is None:
            if _is_docs(call.path):
                return await self._documentation_page(call)
            raise not_found()
        name, file = found
        if name == f"{call.path[1:]}/{INDEX}" and not _is_docs(call.path):
            # The page's relative links count from its folder.
            return Reply(308, b"", _HTML, {"Location": quote(call.path) + "/", "Cache-Control": _REVALIDATE})
        return self._file_reply(call, name, file)

    async def _find_file(self, path: str) -> tuple[str, StaticFile] | None:
        """The file that answers for a path, and its name in the folder."""
        found = await self._find_exactly(path)
        if found is None:
            await self._files.refresh()
            found = await self._find_exactly(path)
        if found is None and self._own_routes and _may_be_a_route(path):
            found = await self._find_exactly("/")
        return found

    async def _find_exactly(self, path: str) -> tuple[str, StaticFile] | None:
        name = path[1:]
        folder = name if name.endswith("/") or not name else name + "/"
        for candidate in (name, folder + INDEX):
            file = await self._files.get(candidate)
            if file is not None:
                return candidate, file
        return None

    async def _documentation_page(self, call: Call) -> Reply:
        page = self._documentation
        if page is None:
            page = self._documentation = await self._threads.run(self._make_documentation)
        etag = f'"{hashlib.sha256(page).hexdigest()[:32]}"'
        headers = {"Cache-Control": _REVALIDATE, "ETag": etag, **self._page_headers()}
        if is_unchanged(call, etag):
            return Reply(304, b"", _HTML, headers)
        return Reply(200, page, _HTML, headers)

    def _file_reply(self, call: Call, name: str, file: StaticFile) -> Reply | FileReply:
        content_type = self._files.content_type(name)
        headers = {
            "Cache-Control": _REVALIDATE,
            "ETag": file.etag,
            "Last-Modified": file.last_modified,
        }
        if name == INDEX or _is_docs(call.path):
            headers.update(self._page_headers())
        if is_unchanged(call, file.etag, file.modified_ns):
            return Reply(304, b"", content_type, headers)
        return FileReply(file.path, content_type, headers)


def _is_docs(path: str) -> bool:
    return path in ("/" + DOCS, f"/{DOCS}/")


def _may_be_a_route(path: str) -> bool:
    """Whether an interface's own router could mean something by it: no extension, nothing hidden or odd."""
    segments = path.strip("/").split("/")
    odd = "//" in path or any(segment.startswith(".") or "\\" in segment for segment in segments)
    return not odd and "." not in segments[-1] and not _is_docs(path)


class WebEnvelope:
    """Refusals as JSON: `{"Status":"404 Not Found"}`, with an `Error-Message` where there is one."""

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Never asked: `WebRoot` makes whole replies. Raises TypeError."""
        raise TypeError(f"the web root answered with {type(value).__name__}")

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Wrap a refusal."""
        body: dict[str, object] = {"Status": f"{error.status} {reason(error.status)}"}
        headers = {"Cache-Control": _REVALIDATE, **error.headers}
        if error.message is not None:
            body["Error-Message"] = headers["Error-Message"] = error.message
        return Reply(error.status, msgspec.json.encode({**body, **error.fields}), headers=headers)


class EverybodyMayRead:
    """An authenticator that asks for nothing."""

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Let the caller in."""
        return Caller("anonymous", "", address=call.address, surface=NAME)

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """Let the caller in."""
        return Caller("anonymous", "", address=call.address, surface=NAME)


class NothingChanges:
    """An audit trail for a surface that only reads."""

    async def record(self, call: Call, action: str, outcome: str) -> None:
        """Never asked, as the endpoint names no action. Raises TypeError."""
        raise TypeError(f"the web root has nothing to audit, but was given {action}")
