"""Log-in, its end, and what is no log-in, over real HTTPS with real users."""

import base64
import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from jwt.warnings import InsecureKeyLengthWarning

from tests.support.machine import PASSWORD, SystemServer, system_server

INVALID = {"code": "UNAUTHORIZED", "message": "Missing or invalid token"}
IN_QUERY = ("none at all", "garbage", "revoked")
WRONG = {"code": "UNAUTHORIZED", "message": "Invalid username or password"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("auth")) as server:
        yield server


def claims(server: SystemServer, **changed: object) -> dict[str, object]:
    """What the administrator's token says, with changes."""
    content: dict[str, object] = jwt.decode(server.tokens["admin"], options={"verify_signature": False})
    return {**content, **changed}


def bad_credentials(server: SystemServer) -> dict[str, list[str]]:
    """Headers of every kind that must not count."""
    key = (server.server.state / "tokens.key").read_bytes()
    good = server.tokens["admin"]
    parts = [json.dumps({"alg": "none", "typ": "JWT"}).encode(), json.dumps(claims(server)).encode()]
    none = ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])
    revoked = server.log_in("admin")["token"]
    assert server.api("POST", "/auth/logout").status == 200
    refresh = server.log_in("admin")["refresh_token"]
    with warnings.catch_warnings(action="ignore", category=InsecureKeyLengthWarning):
        another_algorithm = jwt.encode(claims(server), key, "HS512")
    found = {
        "no token": "Bearer",
        "basic": "Basic YWRtaW46YWRtaW4=",
        "garbage": "Bearer garbage",
        "without scheme": good,
        "two tokens": f"Bearer {good} {good}",
        "alg none": f"Bearer {none}",
        "another secret": f"Bearer {jwt.encode(claims(server), b'x' * 32, 'HS256')}",
        "another algorithm": f"Bearer {another_algorithm}",
        "another audience": f"Bearer {jwt.encode(claims(server, aud='appliance:rpc'), key, 'HS256')}",
        "expired": f"Bearer {jwt.encode(claims(server, exp=int(time.time()) - 1), key, 'HS256')}",
        "nobody's": f"Bearer {jwt.encode(claims(server, sub='nosuchuser', jti='2'), key, 'HS256')}",
        "revoked": f"Bearer {revoked}",
        "refresh token": f"Bearer {refresh}",
    }
    return {name: [f"Authorization: {value}"] for name, value in found.items()} | {
        "none at all": [],
        "empty": ["Authorization;"],
    }


def operations(server: SystemServer) -> list[tuple[str, str, str]]:
    """Method, path and permission of every operation the server says it has."""
    paths = server.api("GET", "/openapi.json", who=None).json["paths"]
    return [
        (method.upper(), _filled(path), operation["x-permission"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def _filled(path: str) -> str:
    """A path with something possible for its parts."""
    for part, value in (("{id}", "format-1"), ("{name}", "nobody"), ("{kind}", "deployments")):
        path = path.replace(part, value)
    return path


def test_no_bad_credentials_open_any_endpoint(server: SystemServer) -> None:
    found = [each for each in operations(server) if each[2] != "anyone"]
    assert len(found) > 15
    bad = bad_credentials(server)
    bad |= {f"{name}, good one in the query": headers for name, headers in bad.items() if name in IN_QUERY}
    before = server.machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").stdout
    cases = [(method, path, name) for method, path, _ in found for name in bad]
    queries = {name: f"?token={server.tokens['admin']}" if name.endswith("in the query") else "" for name in bad}
    answers = server.many((method, path + queries[name], bad[name]) for method, path, name in cases)
    for case, answer in zip(cases, answers, strict=True):
        assert answer.status == 401, case
        assert answer.json == {"status": "error", "data": None, "error": INVALID}, case
        assert answer.headers["www-authenticate"] == "Bearer"
    assert server.machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").stdout == before


def test_only_log_in_is_for_everybody(server: SystemServer) -> None:
    assert [path for _, path, who in operations(server) if who == "anyone"] == ["/api/v1/auth/login"]


def test_who_is_no_administrator_changes_nothing(server: SystemServer) -> None:
    own = ("/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout")
    changes = [each for each in operations(server) if each[0] != "GET" and each[1] not in own]
    assert len(changes) > 5
    token = [f"Authorization: Bearer {server.tokens['reader']}"]
    for answer in server.many((method, path, token) for method, path, _ in changes):
        assert answer.status == 403
        assert answer.json["error"]["code"] == "PERMISSION_DENIED"


def test_a_login_tells_who_has_logged_in(server: SystemServer) -> None:
    data = server.log_in("reader")
    passwd = server.machine.run("getent", "passwd", "reader").stdout.strip().split(":")
    assert data["user"] == {"username": "reader", "uid": passwd[2], "gid": passwd[3], "home": passwd[5]}
    assert abs(data["expires_at"] - time.time() - 24 * 3600) < 60


def test_a_wrong_password_and_an_unknown_user_look_alike(server: SystemServer) -> None:
    """In all that an answer holds, but for its own date and number."""
    server.machine.run("useradd", "-m", "-p", "!", "shut")

    def attempt(tried: tuple[str, str]) -> tuple[int, dict[str, str], bytes]:
        body = {"username": tried[0], "password": tried[1]}
        answer = server.api("POST", "/auth/login", body, who=None)
        return answer.status, {**answer.headers, "date": "", "x-request-id": ""}, answer.body

    wrong = [("admin", "wrong"), ("nosuchuser", "wrong"), ("shut", "wrong"), ("admin", ""), ("--help", "x")]
    with ThreadPoolExecutor(len(wrong)) as pool:
        first, *others = pool.map(attempt, wrong)
    assert first[0] == 401
    assert json.loads(first[2])["error"] == WRONG
    assert others == [first] * len(others)
    assert PASSWORD not in server.server.log.read_text()


def test_another_kind_of_login_is_refused(server: SystemServer) -> None:
    body = {"username": "admin", "password": PASSWORD, "auth_type": "key"}
    assert server.api("POST", "/auth/login", body, who=None).status == 400


def test_renewing_uses_the_refresh_token_up(server: SystemServer) -> None:
    refresh = server.log_in("admin")["refresh_token"]
    answer = server.api("POST", "/auth/refresh", {"refresh_token": refresh})
    assert answer.status == 200
    assert answer.json["data"]["user"]["username"] == "admin"
    assert server.api("POST", "/auth/refresh", {"refresh_token": refresh}).status == 401
    assert server.api("POST", "/auth/refresh").status == 200
    foreign = server.log_in("reader")["refresh_token"]
    assert server.api("POST", "/auth/refresh", {"refresh_token": foreign}).status == 401


def test_an_end_outlives_a_kill(server: SystemServer) -> None:
    server.log_in("admin")
    ended = server.tokens["admin"]
    assert server.api("POST", "/auth/logout").status == 200
    server.log_in("admin")
    server.server.kill()
    server.server.start()
    assert server.api("GET", "/system/summary").status == 200
    server.tokens["ended"] = ended
    assert server.api("GET", "/system/summary", who="ended").status == 401


def test_a_token_for_programs(server: SystemServer) -> None:
    server.log_in("admin")
    answer = server.api("POST", "/auth/tokens", {"name": "backup", "expires_at": None})
    assert answer.status in (200, 201)
    token, info = answer.json["data"]["token"], answer.json["data"]["token_info"]
    assert (info["name"], info["username"], info["expires_at"]) == ("backup", "admin", None)
    server.tokens["program"] = token
    assert server.api("GET", "/system/summary", who="program").status == 200
    assert info["id"] in [each["id"] for each in server.data("/auth/tokens")]
    assert server.data(f"/auth/tokens/{info['id']}")["name"] == "backup"
    server.server.kill()
    server.server.start()
    assert server.api("GET", "/system/summary", who="program").status == 200
    assert token.encode() not in (server.server.state / "appliance.db").read_bytes()
    assert server.api("POST", "/auth/tokens", {"name": "x"}, who="reader").status == 403
    assert server.api("DELETE", f"/auth/tokens/{info['id']}").status == 200
    assert server.api("GET", "/system/summary", who="program").status == 401
    assert server.api("DELETE", f"/auth/tokens/{info['id']}").status == 404


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": 1}, {"name": "x", "expires_at": "soon"}, {"name": "x", "expires_at": 5}]
)
def test_what_is_no_token_is_not_made(server: SystemServer, body: dict[str, object]) -> None:
    server.log_in("admin")
    assert server.api("POST", "/auth/tokens", body).status == 400
