"""The paths of the surface, its documentation and its limits, over real HTTPS."""

import gzip
import json
import time
from collections.abc import Iterator

import openapi_spec_validator
import pytest

from tests.support.rpc import RpcServer, rpc_server

UNKNOWN = {"code": 404, "data": None, "message": "API not found", "detail": "Not Found"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("surface")) as server:
        server.log_in("reader")
        yield server


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/nothing", "/api/v2", "/api/v2/x", "/api/loginx", "/api/login/x", "/api/2fa/x", "/api/ubus"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_nobody_owns(server: RpcServer, path: str, method: str) -> None:
    answer = server.curl("-X", method, path=path)
    assert (answer.status, answer.json) == (404, UNKNOWN)


def test_other_surfaces_keep_their_forms(server: RpcServer) -> None:
    assert server.curl(path="/api/v1/nothing").json["status"] == "error"
    assert server.curl(path="/api").json["status"] == "operational"
    assert server.curl(path="/api/v1/admin/nothing").json["Status"] == "404 Not Found"


def test_another_method(server: RpcServer) -> None:
    assert server.api("PUT", "/ubus/call").json["message"] == "auth header is empty"
    answer = server.api("PUT", "/ubus/call", token=server.tokens["reader"])
    assert answer.status == answer.json["code"] == 405
    assert answer.headers["allow"] == "POST"


def test_the_document_is_valid_and_for_everybody(server: RpcServer) -> None:
    answer = server.curl(path="/api/ubus/openapi.json")
    assert answer.status == 200
    openapi_spec_validator.validate(answer.json)
    paths = answer.json["paths"]
    assert {"/api/login", "/api/ubus/call", "/api/2fa/otp-verify", "/api/files/{name}"} <= set(paths)
    assert "ns.test" not in answer.body.decode()
    packed = server.curl("-H", "Accept-Encoding: gzip", path="/api/ubus/openapi.json")
    assert json.loads(gzip.decompress(packed.body)) == answer.json


def test_who_sends_a_token_sees_what_he_may_call(server: RpcServer) -> None:
    document = server.api("GET", "/ubus/openapi.json", token=server.tokens["reader"]).json
    openapi_spec_validator.validate(document)
    schema = document["paths"]["/api/ubus/call"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    calls = {each["title"]: each for each in schema["oneOf"]}
    assert set(calls) == {"ns.test say", "ns.test exit", "session list"}
    assert calls["ns.test say"]["properties"]["payload"]["properties"] == {
        "message": {"type": "string"},
        "number": {"type": "integer", "format": "int32"},
    }
    assert server.api("GET", "/ubus/openapi.json", token="garbage").status == 401


def test_the_documentation_page_shows_it(server: RpcServer) -> None:
    page = server.curl(path="/docs").body.decode()
    assert "RPC API" in page and "/api/ubus/call" in page


def test_the_rate_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    with rpc_server(tmp_path_factory.mktemp("rate"), "rate_limit_burst = 30\n", rate=1) as server:
        bearer = [f"Authorization: Bearer {server.tokens['root']}"]
        others = ("/api/login", "/api/files/x", "/api/ubus/list", "/api/2fa")
        found = server.many([("GET", "/api/2fa", bearer)] * 60 + [("GET", path, []) for path in others])
        assert {answer.status for answer in found[:60]} == {200, 429}
        for answer in found[60:]:
            assert (answer.status, answer.json["message"]) == (429, "too many requests")
            assert int(answer.headers["retry-after"]) >= 1
        # Others are not counted with it.
        assert server.curl(path="/api/v1/nothing").status == 404
        assert server.curl(path="/api/nothing").status == 404
        assert server.curl(path="/health").status == 200
        time.sleep(int(found[-1].headers["retry-after"]) + 0.2)
        assert server.api("GET", "/2fa", token=server.tokens["root"]).status == 200


def test_who_is_exempt_from_the_rate_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = 'rate_limit_burst = 2\nrate_limit_exempt = ["127.0.0.0/8"]\n'
    with rpc_server(tmp_path_factory.mktemp("exempt"), config, rate=1) as server:
        assert {server.api("GET", "/2fa", token=server.tokens["root"]).status for _ in range(8)} == {200}
