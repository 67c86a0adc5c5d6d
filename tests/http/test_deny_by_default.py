"""Nothing is answered without good credentials, on any endpoint the server really has."""

import hashlib
import hmac
import inspect
import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from appliance.admin import endpoints_information, endpoints_optional, endpoints_setup, endpoints_update
from appliance.http.endpoints import Endpoint
from appliance.identity.caller import Permission, administrator
from tests.support.server import API, TOKEN, Server, hash_of, running
from tests.support.snapshot import assert_unchanged, snapshot
from tests.support.surface import ENDPOINTS, REFUSED
from tests.support.wire import Wire, assert_error_form

MODULES: list[ModuleType] = [endpoints_information, endpoints_optional, endpoints_setup, endpoints_update]
WRITING = ("POST", "PUT", "PATCH")
BODY = b'--b\r\nContent-Disposition: form-data; name="settings"; filename="s"\r\n\r\n{}\r\n--b--\r\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("deny"), "[admin]\nbackoff_after = 0\n") as server:
        yield server


def request(method: str, path: str, *headers: str, query: str = "") -> bytes:
    """A request, with a body where it is a POST."""
    body = BODY if method in WRITING else b""
    lines = [f"{method} {API}{path}{query} HTTP/1.1", "Host: box", "Connection: close", *headers]
    if body:
        lines += ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def signed(
    method: str,
    path: str,
    *,
    body: bytes,
    token: str = TOKEN,
    age: int = 0,
    nonce: str = "",
    query: str = "",
    **changed: str,
) -> str:
    """An Authorization header; `changed` fields are altered after the signature was made."""
    fields = {
        "timestamp": str(int(time.time()) - age),
        "nonce": nonce or secrets.token_urlsafe(18),
        "digest": hashlib.sha256(body).hexdigest(),
    }
    message = "\n".join(["HMAC-SHA256", method, API + path, query, *fields.values()])
    key = hashlib.sha256(token.encode()).hexdigest().encode()
    fields["signature"] = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
    return "Authorization: HMAC-SHA256 " + ", ".join(f"{name}={value}" for name, value in (fields | changed).items())


def bad_requests(method: str, path: str) -> dict[str, bytes]:
    """The same request with every kind of credentials that are none."""
    body = BODY if method in WRITING else b""
    other = "POST" if method == "GET" else "GET"
    good = signed(method, path, body=body)
    queries = {
        "none": "",
        "wrong token": "?token=wrong",
        "empty token": "?token=",
        "wrong hash": f"?hash={'0' * 64}",
        "hash of another path": f"?hash={hash_of(method, '/nothing')}",
        "hash of another method": f"?hash={hash_of(other, path)}",
        "hash under the empty token": f"?hash={hash_of(method, path, '')}",
        "wrong hash and good token": f"?hash=x&token={TOKEN}",
        "good token in another case": f"?TOKEN={TOKEN}",
    }
    headers = {
        "garbled": "Authorization: HMAC-SHA256 nonsense",
        "empty": "Authorization:",
        "bearer of something else": "Authorization: Bearer wrong",
        "basic": "Authorization: Basic YWRtaW46eW91cnRva2Vu",
        "expired": signed(method, path, body=body, age=10_000),
        "from the future": signed(method, path, body=body, age=-10_000),
        "signed with another token": signed(method, path, body=body, token="other"),
        "signed for another path": signed(method, "/nothing", body=body),
        "signed for another method": signed(other, path, body=body),
        "signed for another query": signed(method, path, body=body, query="a=b"),
        "another nonce": signed(method, path, body=body, nonce="n" * 20).replace("n" * 20, "m" * 20),
        "another time": re.sub(
            r"timestamp=\d+", f"timestamp={int(time.time()) - 1}", signed(method, path, body=body, age=7)
        ),
        "another digest": signed(method, path, body=body, digest=hashlib.sha256(b"other").hexdigest()),
        "a signature in capitals": re.sub(
            r"signature=\w+", lambda found: found[0].upper().replace("SIGNATURE", "signature"), good
        ),
        "a short nonce": signed(method, path, body=body, nonce="n" * 8),
        "bad header and good token": "Authorization: HMAC-SHA256 x",
    }
    found = {name: request(method, path, query=query) for name, query in queries.items()}
    found |= {
        name: request(method, path, header) for name, header in headers.items() if name != "bad header and good token"
    }
    found["bad header and good token"] = request(
        method, path, headers["bad header and good token"], query=f"?token={TOKEN}"
    )
    if method in WRITING:
        # The digest in the header is right for its signature, but another body follows.
        found["another body"] = request(method, path, signed(method, path, body=b"other"))
    return found


def declared() -> list[Endpoint]:
    """Every endpoint that the surface's classes declare."""
    return [
        function.__appliance_endpoint__
        for module in MODULES
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
        for function in vars(kind).values()
        if hasattr(function, "__appliance_endpoint__")
    ]


def test_every_declared_endpoint_names_a_permission() -> None:
    endpoints = {(each.method, each.path): each for each in declared()}
    assert set(ENDPOINTS) <= set(endpoints)
    for key, endpoint in endpoints.items():
        assert isinstance(endpoint.who, Permission), key
        if key != ("GET", "/openapi.json"):
            assert endpoint.who is administrator, key


def test_what_changes_something_is_audited() -> None:
    for endpoint in declared():
        assert (endpoint.audit is not None) or endpoint.method == "GET", endpoint.path


def served(server: Server) -> set[tuple[str, str]]:
    """Method and path of all that the server says it has."""
    document = server.curl(path="/openapi.json").json
    return {
        (method.upper(), re.sub(r"\{\w+\}", "0" * 32, path.removeprefix(API)))
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete", "head")
    }


def test_all_endpoints_refuse_all_bad_credentials(server: Server) -> None:
    endpoints = sorted(served(server))
    assert set(ENDPOINTS) <= set(endpoints)
    before = snapshot(server.admin)

    def attempt(case: tuple[str, str, str, bytes]) -> None:
        method, path, name, data = case
        with Wire(server.port) as wire:
            wire.send(data)
            response = wire.response(method)
            wire.assert_ended()
        if name == "another body" and response.status == 400:
            return  # it could not even be read as this endpoint's body
        assert response.status == 403, (method, path, name, response)
        assert_error_form(response, 403)
        assert method == "HEAD" or response.json == REFUSED, (method, path, name)
        assert response.headers["error-message"] == REFUSED["Error-Message"]

    cases = [
        (method, path, name, data)
        for method, path in endpoints
        if path != "/openapi.json"
        for name, data in bad_requests(method, path).items()
    ]
    assert len(cases) > 600
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(attempt, cases))
    assert_unchanged(server.admin, before)
    assert server.get("/update").json == {"status": None, "log": None}


def test_a_replayed_header_is_refused(server: Server) -> None:
    for method, path in [("GET", "/version"), ("GET", "/logs"), ("POST", "/settings")]:
        data = request(method, path, signed(method, path, body=BODY if method == "POST" else b""))
        statuses = []
        for _ in range(3):
            with Wire(server.port) as wire:
                wire.send(data)
                statuses.append(wire.response().status)
                wire.assert_ended()
        assert statuses[0] != 403 and statuses[1:] == [403, 403], path


def test_refusals_are_audited(server: Server) -> None:
    log = server.admin / "log" / "jidoteki-audit.log"
    before = log.read_text().count("token.authenticate.failed") if log.exists() else 0
    assert server.curl(path="/version?token=wrong").status == 403
    assert log.read_text().count("token.authenticate.failed") == before + 1


@pytest.mark.parametrize("query", ["", "?token=wrong", f"?hash={'0' * 64}", f"?hash=x&token={TOKEN}"])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_large_upload_without_good_credentials_is_refused_early(server: Server, query: str, in_chunks: bool) -> None:
    size = 200 * 1024 * 1024
    start = b'--b\r\nContent-Disposition: form-data; name="update"; filename="p"\r\n\r\n'
    length = "Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {size}"
    head = f"POST {API}/update{query} HTTP/1.1\r\nHost: box\r\n{length}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    piece = bytes(64 * 1024)
    before = snapshot(server.admin)

    def body() -> Iterator[bytes]:
        for block in [start, *[piece] * (size // len(piece))]:
            yield b"%x\r\n%b\r\n" % (len(block), block) if in_chunks else block

    with Wire(server.port) as wire:
        wire.send(head.encode(), body())
        response = wire.response()
        assert response.json == REFUSED and response.closes
        wire.assert_ended()
        assert wire.sent < 10_000_000
    assert_unchanged(server.admin, before, 0)


def test_a_client_that_does_not_stop_sending_is_cut_off(server: Server) -> None:
    """Who goes on after the refusal is read for 8 MiB at the most."""
    head = f"POST {API}/update?token=wrong HTTP/1.1\r\nHost: box\r\nContent-Length: 500000000\r\n\r\n"
    with Wire(server.port) as wire:
        wire.send(head.encode())
        assert wire.response().json == REFUSED
        wire.flood(bytes(64 * 1024) for _ in range(8000))
        assert wire.ended
        assert wire.sent < 30_000_000  # 8 MiB, and what the buffers of both ends hold
    assert server.get("/version").status == 200
