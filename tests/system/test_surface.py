"""The paths of the surface, its own error form, and its limits, over real HTTPS."""

from collections.abc import Iterator
from datetime import UTC, datetime

import openapi_spec_validator
import pytest

from appliance import __version__
from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    config = 'admin_groups = ["sudo"]\n[admin]\nbackoff_after = 0\n'
    with system_server(tmp_path_factory.mktemp("surface"), config) as server:
        yield server


def test_health_is_for_everybody(server: SystemServer) -> None:
    answer = server.api("GET", "/health", who=None, base="")
    assert answer.status == 200
    assert answer.json["status"] == "success"
    data = answer.json["data"]
    assert data["status"] == "healthy"
    assert data["version"] == __version__
    assert abs((datetime.now(UTC) - datetime.fromisoformat(data["time"])).total_seconds()) < 60


def test_the_document_is_valid_and_for_everybody(server: SystemServer) -> None:
    answer = server.api("GET", "/openapi.json", who=None)
    assert answer.status == 200
    openapi_spec_validator.validate(answer.json)
    assert answer.json["openapi"] == "3.1.0"


def test_the_documentation_shows_both_surfaces(server: SystemServer) -> None:
    page = server.curl(path="/docs").body.decode()
    assert "System API" in page
    assert "Admin API" in page
    assert "/api/v1/system/summary" in page


@pytest.mark.parametrize(
    "path", ["/api/v1", "/api/v1/", "/api/v1/nothing", "/ws", "/ws/nothing", "/metrics/x", "/health/x"]
)
@pytest.mark.parametrize("who", [None, "admin"])
def test_an_unknown_path_is_told_in_the_envelope(server: SystemServer, path: str, who: str | None) -> None:
    answer = server.api("GET", path, who=who, base="")
    assert answer.status == 404
    assert answer.json == {"status": "error", "data": None, "error": {"code": "NOT_FOUND", "message": "Not Found"}}


def test_the_admin_surface_keeps_its_own_form(server: SystemServer) -> None:
    answer = server.api("GET", "/api/v1/admin/nothing", who=None, base="")
    assert answer.json["Status"] == "404 Not Found"


def test_another_method_is_told_to_those_who_are_known(server: SystemServer) -> None:
    assert server.api("PUT", "/system/summary", who=None).status == 401
    answer = server.api("PUT", "/system/summary")
    assert answer.status == 405
    assert answer.json["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b"null", b'{"username":1}', b"[" * 30_000])
def test_a_body_that_is_none_is_told_so(server: SystemServer, body: bytes) -> None:
    answer = server.api("POST", "/auth/login", body, who=None)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "VALIDATION_ERROR"
    assert answer.json["error"]["details"]


def test_a_large_body_is_refused_by_its_announcement(server: SystemServer) -> None:
    answer = server.api("POST", "/auth/login", b" " * 200_000, who=None)
    assert answer.status == 413
    assert answer.json["error"]["code"] == "PAYLOAD_TOO_LARGE"


def test_another_media_type_is_refused(server: SystemServer) -> None:
    answer = server.curl("-d", "username=x", path="/api/v1/auth/login")
    assert answer.status == 415
    assert answer.json["error"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_json_without_a_body_is_no_body(server: SystemServer) -> None:
    assert server.api("GET", "/system/summary", None, "Content-Type: application/json").status == 200


def test_a_query_that_cannot_be_read_is_told_so(server: SystemServer) -> None:
    answer = server.api("GET", "/logs?page=%ff")
    assert answer.status == 400
    assert answer.json["status"] == "error"


def test_answers_are_not_kept_by_caches(server: SystemServer) -> None:
    assert server.api("GET", "/system/summary").headers["cache-control"] == "no-store"


def test_the_rate_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    with system_server(tmp_path_factory.mktemp("limit"), limit=None) as server:
        request = ("GET", "/api/v1/system/summary", [f"Authorization: Bearer {server.tokens['admin']}"])
        answers = server.many([request] * 98)  # after two log-ins
        assert [answer.status for answer in answers] == [200] * 98
        for who in ("admin", None):
            refused = server.api("GET", "/system/summary", who=who)
            assert refused.status == 429
            assert refused.json["error"]["code"] == "RATE_LIMITED"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert server.api("GET", "/nothing").status == 429
        # Others are not counted with it: health, the admin surface, pages.
        assert server.api("GET", "/health", who=None, base="").status == 200
        assert server.api("GET", "/api/v1/admin/version", who=None, base="").status == 403
        assert server.curl(path="/docs").status == 200


def test_who_is_exempt_from_the_rate_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    with system_server(tmp_path_factory.mktemp("exempt"), 'rate_limit_exempt = ["127.0.0.1"]\n', limit=1) as server:
        assert [server.api("GET", "/system/summary").status for _ in range(5)] == [200] * 5
