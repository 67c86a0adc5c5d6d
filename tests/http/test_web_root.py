import http.client
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from appliance import data
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.call import Call
from appliance.http.dispatch import Dispatcher
from appliance.http.endpoints import Endpoint
from appliance.http.receivers import Receivers
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces
from appliance.http.web_root import DASHBOARD_CSP, NothingChanges, WebEnvelope, dashboard, web_root
from appliance.threads import Threads
from tests.support.listening import ListeningTestCase, reactor

SECRET = "not for the web"
CSP = "default-src 'self'"
COOKIE = {"Set-Cookie": "jidoteki-admin-api-token=; Path=/"}
DOCUMENTATION = b"<!DOCTYPE html><title>Documentation</title>"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class WebRootTestCase(ListeningTestCase):
    """A web root on a port of its own, over a folder with an interface; beside the folder lies a secret."""

    def setUp(self) -> None:
        self.outside = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.outside)
        (self.outside / "secret").write_text(SECRET)
        (self.outside / "secret.txt").write_text(SECRET)
        self.folder = self.outside / "web"
        self.put("index.html", "<title>Interface</title>")
        self.put("assets/app.js", "app()")
        self.threads = Threads(reactor)
        self.page_headers: dict[str, str] = {}
        self.rendered = 0
        self.hole = False
        self.serve(self.make())

    def make(self) -> Surface:
        return web_root(
            reactor, self.threads, self.folder, self.render, csp=CSP, page_headers=lambda: self.page_headers
        )

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def render(self) -> bytes:
        self.rendered += 1
        if self.hole:
            raise LookupError("a hole in the document")
        return DOCUMENTATION

    def serve(self, surface: Surface) -> None:
        site = Site(
            reactor,
            Dispatcher(Surfaces([surface]), Receivers(self.threads)),
            self.threads,
            AccessLog(reactor, lambda block: None),
            TrustedProxies(lambda address: False),
            Limits(),
            lambda error: b"{}",
        )
        self.addCleanup(lambda: self.drained(site))
        self.port = self.listen(site)

    async def drained(self, site: Site) -> None:
        await site.drain(1)

    async def fetch(self, target: str, method: str = "GET", **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.in_thread(self._fetch, target, method, given)

    def _fetch(self, target: str, method: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


class PageTests(WebRootTestCase):
    async def test_the_interface(self) -> None:
        answer = await self.fetch("/")
        assert answer.status == 200 and answer.body == b"<title>Interface</title>"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Security-Policy"] == CSP
        assert "Set-Cookie" not in answer.headers

    async def test_an_asset_is_asked_for_again_since_an_update_may_change_it(self) -> None:
        self.page_headers = COOKIE
        answer = await self.fetch("/assets/app.js?v=1")
        assert answer.status == 200 and answer.body == b"app()"
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "Set-Cookie" not in answer.headers

    async def test_a_large_file_comes_whole(self) -> None:
        content = os.urandom(3_000_001)
        self.put("assets/large.bin", content)
        answer = await self.fetch("/assets/large.bin")
        assert answer.headers["Content-Length"] == "3000001" and answer.body == content

    async def test_head_has_the_headers_of_get_and_no_body(self) -> None:
        for target in ("/", "/docs"):
            answer, head = await self.fetch(target), await self.fetch(target, "HEAD")
            assert head.status == 200 and head.body == b""
            for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
                assert head.headers[name] == answer.headers[name]

    async def test_what_the_client_holds_is_not_sent_again(self) -> None:
        self.page_headers = COOKIE
        for target in ("/", "/docs", "/assets/app.js"):
            first = await self.fetch(target)
            again = await self.fetch(target, If_None_Match=first.headers["ETag"])
            assert again.status == 304 and again.body == b""
            assert again.headers["ETag"] == first.headers["ETag"]
            assert again.headers.get("Set-Cookie") == first.headers.get("Set-Cookie")
            other = await self.fetch(target, If_None_Match='"other"')
            assert other.status == 200 and other.body == first.body

    async def test_a_changed_file_is_sent_at_once(self) -> None:
        first = await self.fetch("/")
        dated = await self.fetch("/", If_Modified_Since=first.headers["Last-Modified"])
        assert dated.status == 304
        self.put("index.html", "<title>Another</title>")
        again = await self.fetch("/", If_None_Match=first.headers["ETag"])
        assert again.status == 200 and again.body == b"<title>Another</title>"

    async def test_the_interfaces_own_routes_get_its_index(self) -> None:
        self.page_headers = COOKIE
        for target in ("/settings", "/settings/network", "/caf%C3%A9/", "/docs/no-such-file"):
            answer = await self.fetch(target)
            assert answer.status == 200 and answer.body == b"<title>Interface</title>", target
            assert answer.headers["Set-Cookie"] == COOKIE["Set-Cookie"]

    async def test_a_missing_file_is_a_404_in_json(self) -> None:
        for target in ("/assets/missing.js", "/favicon.ico", "/docs/missing.css"):
            answer = await self.fetch(target)
            assert answer.status == 404
            assert json.loads(answer.body) == {"Status": "404 Not Found"}
            assert answer.headers["Content-Type"] == "application/json"

    async def test_an_api_that_does_not_exist_is_no_route_of_the_interface(self) -> None:
        for target in ("/api", "/api/v2/things", "/ws", "/health", "/metrics/x", "/%61pi/x"):
            answer = await self.fetch(target)
            assert answer.status == 404 and json.loads(answer.body) == {"Status": "404 Not Found"}, target
        assert (await self.fetch("/api/x", "POST")).status == 404
        assert (await self.fetch("/apix")).status == 200

    async def test_a_folder_with_an_index_of_its_own(self) -> None:
        self.put("guide one/index.html", "guide")
        answer = await self.fetch("/guide%20one/")
        assert answer.status == 200 and answer.body == b"guide"
        redirect = await self.fetch("/guide%20one")
        assert redirect.status == 308 and redirect.headers["Location"] == "/guide%20one/"
        assert (await self.fetch("/guide%20one/index.html")).body == b"guide"

    async def test_other_methods(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = await self.fetch("/", method)
            assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
            assert json.loads(answer.body) == {"Status": "405 Method Not Allowed"}
            assert (await self.fetch("/docs", method)).status == 405
            assert (await self.fetch("/missing.js", method)).status == 404

    async def test_what_cannot_be_parsed_has_the_error_form(self) -> None:
        answer = await self.fetch("/%ff")
        body = json.loads(answer.body)
        assert answer.status == 400 and body["Status"] == "400 Bad Request"
        assert body["Error-Message"] == answer.headers["Error-Message"]


class DocumentationTests(WebRootTestCase):
    async def test_our_page(self) -> None:
        self.page_headers = COOKIE
        for target in ("/docs", "/docs/"):
            answer = await self.fetch(target)
            assert answer.status == 200 and answer.body == DOCUMENTATION
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["Set-Cookie"] == COOKIE["Set-Cookie"]
        assert self.rendered == 1

    async def test_files_beside_it(self) -> None:
        self.put("docs/manual.css", "b {}")
        assert (await self.fetch("/docs/manual.css")).body == b"b {}"
        assert (await self.fetch("/docs")).body == DOCUMENTATION

    async def test_the_folders_own_page_comes_first(self) -> None:
        self.page_headers = COOKIE
        self.put("docs/index.html", "own")
        for target in ("/docs", "/docs/"):
            answer = await self.fetch(target)
            assert answer.status == 200 and answer.body == b"own"
            assert answer.headers["Set-Cookie"] == COOKIE["Set-Cookie"]
        assert self.rendered == 0

    async def test_a_failure_to_make_it_is_a_500_and_it_is_tried_again(self) -> None:
        self.hole = True
        assert (await self.fetch("/docs")).status == 500
        assert len(self.flushLoggedErrors(LookupError)) == 1
        self.hole = False
        assert (await self.fetch("/docs")).body == DOCUMENTATION


class TrickTests(WebRootTestCase):
    async def test_no_path_leads_out_or_to_what_is_hidden(self) -> None:
        self.put(".env", SECRET)
        self.put(".git/config", SECRET)
        self.put("assets/.hidden.js", SECRET)
        (self.folder / "file-out").symlink_to("../secret")
        (self.folder / "file-out.txt").symlink_to("../secret.txt")
        (self.folder / "folder-out").symlink_to("..")
        (self.folder / "absolute-out.txt").symlink_to(self.outside / "secret.txt")
        os.mkfifo(self.folder / "pipe.txt")
        targets = [
            "/../secret",
            "/../secret.txt",
            "/..%2fsecret",
            "/..%2Fsecret.txt",
            "/%2e%2e/secret.txt",
            "/%2e%2e%2fsecret.txt",
            "/%252e%252e%252fsecret.txt",
            "/assets/../../secret.txt",
            "/assets/..%2f..%2fsecret.txt",
            "/assets/..%5c..%5csecret.txt",
            "/..\\secret.txt",
            f"/{self.outside}/secret.txt",
            f"/%2f{self.outside}/secret.txt",
            "//secret.txt",
            "//settings",
            "/settings//network",
            "/./assets/app.js",
            "/assets//app.js",
            "/assets/./app.js",
            "/.env",
            "/.git/config",
            "/.git/",
            "/assets/.hidden.js",
            "/file-out.txt",
            "/folder-out/secret.txt",
            "/absolute-out.txt",
            "/pipe.txt",
            "/assets/app.js/",
            "/index.html/",
            "/" + "a/" * 5000 + "x.txt",
            "/" + "x" * 12_000 + ".txt",
        ]
        for target in targets:
            answer = await self.fetch(target)
            assert answer.status == 404, (target[:80], answer.status)
            assert SECRET.encode() not in answer.body
        for target in ("/file-out", "/folder-out/secret", "/" + "x" * 12_000):
            answer = await self.fetch(target)
            assert answer.body == b"<title>Interface</title>", target[:80]

    async def test_control_characters_are_refused(self) -> None:
        for target in ("/%00", "/index.html%00.txt", "/index.html%0d%0aX:%20y", "/%7f"):
            answer = await self.fetch(target)
            assert answer.status == 400, target
            assert SECRET.encode() not in answer.body

    async def test_a_target_that_is_too_long(self) -> None:
        assert (await self.fetch("/" + "x" * 20_000)).status == 414
        assert (await self.fetch("/")).status == 200

    async def test_a_file_that_became_a_link_since_the_look(self) -> None:
        assert (await self.fetch("/assets/app.js")).status == 200
        (self.folder / "assets" / "app.js").unlink()
        (self.folder / "assets" / "app.js").symlink_to("../../secret")
        answer = await self.fetch("/assets/app.js")
        assert answer.status == 404 and SECRET.encode() not in answer.body


class DashboardTests(WebRootTestCase):
    def make(self) -> Surface:
        self.put("docs/dashboard.js", "dashboard()")
        self.put("app.js", SECRET)
        self.put("src/index.html", SECRET)
        return dashboard(reactor, self.threads, self.folder, self.render, page_headers=lambda: COOKIE)

    async def test_its_page_and_its_files(self) -> None:
        page, script = await self.fetch("/"), await self.fetch("/docs/dashboard.js")
        assert page.body == b"<title>Interface</title>" and page.headers["Set-Cookie"] == COOKIE["Set-Cookie"]
        assert page.headers["Content-Security-Policy"] == DASHBOARD_CSP
        assert script.body == b"dashboard()" and "Set-Cookie" not in script.headers

    async def test_our_documentation_beside_its_files(self) -> None:
        assert (await self.fetch("/docs")).body == DOCUMENTATION

    async def test_nothing_else_is_served(self) -> None:
        for target in ("/app.js", "/src/", "/src/index.html", "/src", "/assets/app.js", "/some/route"):
            answer = await self.fetch(target)
            assert answer.status == 404 and SECRET.encode() not in answer.body, target


class EmptyTests(WebRootTestCase):
    def make(self) -> Surface:
        return web_root(reactor, self.threads, self.outside / "missing", self.render, csp=CSP)

    async def test_a_folder_that_is_not_there(self) -> None:
        assert (await self.fetch("/")).status == 404
        assert (await self.fetch("/route")).status == 404
        assert (await self.fetch("/", "POST")).status == 404
        assert (await self.fetch("/docs")).body == DOCUMENTATION


class BuiltInPageTests(WebRootTestCase):
    def make(self) -> Surface:
        return web_root(reactor, self.threads, data.path("web"), self.render, csp=CSP)

    async def test_it_leads_to_the_documentation_and_needs_nothing_from_elsewhere(self) -> None:
        page = (await self.fetch("/")).body.decode()
        assert 'href="/docs"' in page and "<title>Appliance</title>" in page
        for forbidden in ("<script", "http://", "https://", "url(", "@import"):
            assert forbidden not in page


def call() -> Call:
    return Call("1", "GET", b"/", "/", b"", cast(Any, None))


def test_the_envelope_is_not_asked_for_values() -> None:
    with pytest.raises(TypeError, match="dict"):
        WebEnvelope().encode({}, call())


class AuditTests(ListeningTestCase):
    async def test_there_is_nothing_to_audit(self) -> None:
        with pytest.raises(TypeError, match=r"web\.get"):
            await NothingChanges().record(call(), "web.get", "success")


def test_the_endpoint_is_for_everybody_and_in_no_document() -> None:
    surface = web_root(reactor, Threads(reactor), Path("/nowhere"), lambda: b"", csp=CSP)
    endpoint: Endpoint = surface.router.find("GET", "/")[0]
    assert endpoint.who.public and not endpoint.listed and endpoint.audit is None
