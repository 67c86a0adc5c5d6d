"""No endpoint of the surface opens to credentials that are none, and none declares nothing."""

import base64
import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jwt
import pyotp
import pytest
from jwt.warnings import InsecureKeyLengthWarning

from tests.support.machine import PASSWORD
from tests.support.password_helper import descendants
from tests.support.rpc import LOCAL_PASSWORD, RpcServer, rpc_server
from tests.support.snapshot import assert_unchanged, snapshot

NO_PERMISSION = "you don't have permission to access this resource"
PUBLIC = {("POST", "/api/login"), ("POST", "/api/2fa/otp-verify")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("deny"), host_users=True) as server:
        server.log_in("reader")
        yield server


def claims(server: RpcServer, **changed: object) -> dict[str, object]:
    """What the token of `reader` says, with changes; None leaves one out."""
    content: dict[str, object] = jwt.decode(server.tokens["reader"], options={"verify_signature": False})
    return {name: value for name, value in {**content, **changed}.items() if value is not None}


def pending_token(server: RpcServer) -> str:
    """A token that waits for the second factor."""
    token = server.log_in("nobody")
    key = server.api("GET", "/2fa/qr-code", token=server.sudo("nobody")).json["data"]["key"]
    body = {"username": "nobody", "token": token, "otp": pyotp.TOTP(key).now()}
    assert server.api("POST", "/2fa/otp-verify", body).status == 200
    return server.log_in("nobody")


def bad_credentials(server: RpcServer) -> dict[str, tuple[str, int, str]]:
    """Headers of every kind that must not count, with status and message of their refusal."""
    key = (server.server.state / "tokens.key").read_bytes()
    good = server.tokens["reader"]

    def signed(secret: bytes = key, algorithm: str = "HS256", **changed: object) -> str:
        with warnings.catch_warnings(action="ignore", category=InsecureKeyLengthWarning):
            return f"Bearer {jwt.encode(claims(server, **changed), secret, algorithm)}"

    parts = [json.dumps({"alg": "none", "typ": "JWT"}).encode(), json.dumps(claims(server)).encode()]
    none = ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])
    body = json.dumps({"username": "hostadmin", "password": PASSWORD})
    system = server.curl("-H", "Content-Type: application/json", "-d", body, path="/api/v1/auth/login").json["data"]
    revoked = server.log_in("reader")
    assert server.api("POST", "/logout", token=revoked).status == 200
    server.log_in("reader")
    old = int(time.time()) - 7200
    return {
        "empty": ("", 401, "auth header is empty"),
        "no token": ("Bearer", 401, "auth header is invalid"),
        "basic": ("Basic cm9vdDpyb290", 401, "auth header is invalid"),
        "in lower case": (f"bearer {good}", 401, "auth header is invalid"),
        "without scheme": (good, 401, "auth header is invalid"),
        "garbage": ("Bearer garbage", 401, "token contains an invalid number of segments"),
        "two tokens": (f"Bearer {good} {good}", 401, "token is malformed"),
        "alg none": (f"Bearer {none}", 401, "invalid signing algorithm"),
        "another secret": (signed(b"x" * 32), 401, "signature is invalid"),
        "another algorithm": (signed(algorithm="HS512"), 401, "invalid signing algorithm"),
        "the system surface's": (f"Bearer {system['token']}", 401, "token has invalid audience"),
        "its refresh token": (f"Bearer {system['refresh_token']}", 401, "token has invalid audience"),
        "another audience": (signed(aud="appliance:system"), 401, "token has invalid audience"),
        "no audience": (signed(aud=None), 401, "token has invalid claims"),
        "expired": (signed(exp=int(time.time()) - 1, orig_iat=old), 401, "Token is expired"),
        "without end": (signed(exp=None), 401, "token has invalid claims"),
        "from the future": (signed(orig_iat=int(time.time()) + 7200), 401, "Token is expired"),
        "never given": (signed(jti="0" * 32), 403, NO_PERMISSION),
        "somebody else's": (signed(id="root"), 403, NO_PERMISSION),
        "nobody's": (signed(id="nosuchuser"), 403, NO_PERMISSION),
        "revoked": (f"Bearer {revoked}", 403, NO_PERMISSION),
        "waiting for the second factor": (f"Bearer {pending_token(server)}", 403, NO_PERMISSION),
    }


def operations(server: RpcServer) -> list[tuple[str, str, str]]:
    """Method, path and permission of every operation the server says it has."""
    paths = server.curl(path="/api/ubus/openapi.json").json["paths"]
    return [
        (method.upper(), path.replace("{id}", "0" * 24).replace("{name}", "file"), operation["x-permission"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def test_no_bad_credentials_open_any_endpoint(server: RpcServer) -> None:
    found = [each for each in operations(server) if each[2] != "anyone"]
    assert len(found) >= 14
    bad = bad_credentials(server)
    good = server.tokens["reader"]
    folder = server.server.state / "rpc"
    (folder / "downloads" / "file").write_text("x")
    before = snapshot(folder)

    cases = [
        (method, path, permission, name)
        for method, path, permission in found
        for name in bad
        # A token that waits may log out.
        if (permission, name) != ("any valid token", "waiting for the second factor")
    ]
    answers = server.many((method, path, [_header(bad[name][0])]) for method, path, _, name in cases)
    for case, answer in zip(cases, answers, strict=True):
        _, status, message = bad[case[3]]
        assert answer.status == status, case
        assert answer.json == {"code": status, "data": None, "message": message}, case
        assert answer.headers["www-authenticate"] == "JWT realm=nethserver", case

    queries = ("", f"?token={good}", f"?access_token={good}", f"?jwt={good}")
    cookie = [f"Cookie: jwt={good}; token={good}"]
    elsewhere = [(method, path + query, cookie) for method, path, _ in found for query in queries]
    for answer in server.many(elsewhere):
        assert answer.json == {"code": 401, "data": None, "message": "auth header is empty"}
    assert_unchanged(folder, before)
    assert server.api("GET", "/2fa", token=good).status == 200


def _header(value: str) -> str:
    """As curl takes it: an empty one ends with a semicolon."""
    return f"Authorization: {value}" if value else "Authorization;"


def test_what_takes_sudo_mode(server: RpcServer) -> None:
    found = {(method, path) for method, path, permission in operations(server) if permission == "token in sudo mode"}
    assert found == {("GET", "/api/2fa/qr-code"), ("GET", "/api/2fa/recovery-codes"), ("DELETE", "/api/2fa")}
    for method, path in found:
        answer = server.api(method, path.removeprefix("/api"), token=server.tokens["root"])
        assert (answer.status, answer.json) == (403, {"code": 0, "data": None, "message": "sudo mode required"})


def test_only_these_are_for_everybody(server: RpcServer) -> None:
    assert {(method, path) for method, path, who in operations(server) if who == "anyone"} == PUBLIC


def test_tokens_of_this_surface_open_no_other(server: RpcServer) -> None:
    for path in ("/api/v1/system/summary", "/api/v1/users", "/api/v1/admin/version"):
        for token in (server.tokens["root"], server.sudo("root")):
            assert server.curl("-H", f"Authorization: Bearer {token}", path=path).status in (401, 403)


def test_large_bodies_are_refused_before_they_are_read(server: RpcServer) -> None:
    body = b"x" * 5_000_000
    for path in ("/ubus/call", "/files", "/sudo"):
        assert server.api("POST", path, body, "Expect:").status == 401
    assert server.api("POST", "/login", body, "Expect:").status == 413


def test_no_password_in_arguments_environments_or_log(server: RpcServer) -> None:
    """While log-ins and calls with secrets go on, every process of the server is looked at again and again."""
    secrets = [LOCAL_PASSWORD, PASSWORD, "s3cret-psk", server.tokens["root"]]
    secrets.append((server.server.state / "tokens.key").read_bytes().hex())
    seen: list[str] = []

    def work(number: int) -> None:
        if number % 2:
            server.log_in("reader")
        server.data("ns.test", "keep", {"psk": "s3cret-psk"})

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, number) for number in range(40)]
        while not all(each.done() for each in running):
            for pid in [server.server.pid, *descendants(server.server.pid)]:
                for name in ("cmdline", "environ"):
                    try:
                        with open(f"/proc/{pid}/{name}", "rb") as file:
                            seen.append(file.read().decode("latin-1"))
                    except OSError:
                        continue  # it has ended
        for each in running:
            each.result()
    assert any("ns.test" in text for text in seen)
    for secret in secrets:
        assert not any(secret in text for text in seen)
        assert secret not in server.server.log.read_text()
