"""The mesh's description: a valid document, and with debug the pages that show it."""

import re
from collections.abc import Iterator

import openapi_spec_validator
import pytest

from tests.support.mesh_server import EXEMPT, MeshServer, mesh_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServer]:
    with mesh_server(tmp_path_factory.mktemp("documents"), f"{EXEMPT}debug = true\n") as server:
        yield server


def test_the_document_is_valid(server: MeshServer) -> None:
    document = server.ask("GET", "/openapi.json").json
    openapi_spec_validator.validate(document)
    assert document["info"]["title"] == "Mesh API"


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_the_pages_bring_all_they_need(server: MeshServer, page: str) -> None:
    answer = server.ask("GET", f"/{page}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    needed = re.findall(r'(?:src|href)="([^"]+)"', answer.body.decode())
    assert len(needed) >= 2
    for place in needed:
        assert place.startswith(f"/api/{page}/"), "nothing comes from elsewhere"
        file = server.ask("GET", place.removeprefix("/api"))
        assert file.status == 200
        assert file.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css")
    for other in ("x", "..%2f..%2f__init__.py", "index.html"):
        assert server.ask("GET", f"/{page}/{other}").status == 404


def test_without_debug_there_are_no_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    with mesh_server(tmp_path_factory.mktemp("quiet")) as quiet:
        assert quiet.ask("GET", "/docs").status == 404
        assert quiet.ask("GET", "/redoc").status == 404
        assert quiet.ask("GET", "/openapi.json").status == 200
        assert quiet.ask("GET", "").json["status"] == "operational"
        nobodys = {"code": 404, "data": None, "message": "API not found", "detail": "Not Found"}
        for method, path in (("GET", "/x"), ("GET", "/v2/x"), ("POST", "/networks/x"), ("DELETE", "/nodes/")):
            answer = quiet.ask(method, path)
            assert (answer.status, answer.json) == (404, nobodys), path
        wrong = quiet.ask("PUT", "/health")
        assert (wrong.status, wrong.json, wrong.headers["allow"]) == (405, {"detail": "Method Not Allowed"}, "GET")
        assert quiet.ask("GET", "/health").json == {"status": "healthy"}
        assert quiet.ask("GET", "/public-config").json["analytics"]["customScripts"] == []
