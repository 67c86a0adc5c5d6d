"""What begins and ends a session or an API token, and what is written down of it, over real HTTPS."""

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.audit import audited
from tests.support.machine import PASSWORD, SystemServer, system_server
from tests.support.password_helper import service
from tests.support.server import Answer

WRONG = "wrong horse 8"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    hurry = {"appliance.database.file.BUSY_TIMEOUT": 1.0}
    with system_server(tmp_path_factory.mktemp("sessions"), 'admin_groups = ["sudo"]\n', hurry=hurry) as server:
        yield server


def log_in(server: SystemServer, body: object, address: str = "127.0.0.1") -> Answer:
    """Try to log in from one of this machine's own addresses, each of which has a back-off of its own."""
    return server.curl("--interface", address, "--json", dumped(body), path="/api/v1/auth/login")


def dumped(body: object) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def with_token(server: SystemServer, method: str, path: str, token: str, body: object = None) -> Answer:
    return server.api(method, path, body, f"Authorization: Bearer {token}", who=None)


def restart(server: SystemServer) -> None:
    server.server.stop()
    server.server.start()


def alive(server: SystemServer, token: str) -> bool:
    answer = with_token(server, "GET", "/auth/tokens", token)
    if answer.status == 200:
        return True
    assert_unauthorized(answer)
    return False


def assert_unauthorized(answer: Answer) -> None:
    assert answer.status == 401, answer
    assert answer.headers["www-authenticate"] == "Bearer"
    error = {"code": "UNAUTHORIZED", "message": "Missing or invalid token"}
    assert answer.json == {"status": "error", "data": None, "error": error}


def new_token(server: SystemServer, who: str = "admin", **fields: Any) -> Any:
    answer = server.api("POST", "/auth/tokens", {"name": "backup", **fields}, who=who)
    assert answer.status == 200, answer
    return answer.json["data"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "reader"},
        {"password": PASSWORD},
        {"username": 1, "password": PASSWORD},
        {"username": "reader", "password": None},
        {"username": "r" * 10_000, "password": PASSWORD},
        {"username": "reader", "password": "p" * 10_000},
        "{",
        "[]",
    ],
    ids=lambda body: dumped(body)[:60],
)
def test_a_malformed_log_in_is_no_failure(server: SystemServer, body: object) -> None:
    answer = log_in(server, body, "127.0.0.3")  # more often than failures may be
    assert answer.status == 400
    assert answer.json["error"]["code"] == "VALIDATION_ERROR"
    assert PASSWORD not in answer.body.decode()


def test_whoever_guesses_waits_and_nobody_else(server: SystemServer) -> None:
    # Four are checked at once and the others wait; from the fifth failure on those are not checked any more.
    guess = {"username": "admin", "password": WRONG}
    with ThreadPoolExecutor(11) as pool:
        answers = list(pool.map(lambda _: log_in(server, guess, "127.0.0.4"), range(11)))
    refused = [answer for answer in answers if answer.status == 429]
    assert 1 <= len(refused) <= 6
    assert [answer.status for answer in answers if answer not in refused] == [401] * (11 - len(refused))
    for answer in refused:
        assert answer.json["error"]["code"] == "RATE_LIMITED"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert log_in(server, {"username": "admin", "password": PASSWORD}, "127.0.0.5").status == 200


def test_refresh_tokens(server: SystemServer) -> None:
    first, other = server.log_in("reader"), server.log_in("reader")
    refresh = {"refresh_token": first["refresh_token"]}
    for wrong in (other["refresh_token"], first["token"], "x", ""):
        assert_unauthorized(with_token(server, "POST", "/auth/refresh", first["token"], {"refresh_token": wrong}))
    assert_unauthorized(server.api("POST", "/auth/refresh", refresh, who=None))
    assert_unauthorized(with_token(server, "POST", "/auth/refresh", first["refresh_token"], refresh))
    second = with_token(server, "POST", "/auth/refresh", first["token"], refresh).json["data"]
    assert second.keys() == first.keys()
    assert second["user"] == first["user"]
    assert alive(server, second["token"])
    assert_unauthorized(with_token(server, "POST", "/auth/refresh", second["token"], refresh))  # it is used up
    for body in (None, {}, {"refresh_token": None}):
        answer = with_token(server, "POST", "/auth/refresh", second["token"], body)
        assert answer.status == 200, body
        assert alive(server, answer.json["data"]["token"])
    assert with_token(server, "POST", "/auth/refresh", second["token"], {"refresh_token": 7}).status == 400


def test_logging_out_ends_the_whole_session_and_no_other(server: SystemServer) -> None:
    first, other = server.log_in("reader"), server.log_in("reader")
    second = with_token(server, "POST", "/auth/refresh", first["token"]).json["data"]
    assert with_token(server, "POST", "/auth/logout", second["token"]).status == 200
    for token in (first["token"], second["token"]):
        assert not alive(server, token)
        assert_unauthorized(with_token(server, "POST", "/auth/logout", token))
        body = {"refresh_token": second["refresh_token"]}
        assert_unauthorized(with_token(server, "POST", "/auth/refresh", token, body))
    assert alive(server, other["token"])


def test_how_the_header_is_read(server: SystemServer) -> None:
    token = server.log_in("reader")["token"]
    for header in (f"bearer {token}", f"BEARER   {token}  "):
        assert server.api("GET", "/auth/tokens", None, f"Authorization: {header}", who=None).status == 200
    for headers in (
        [f"Authorization: Token {token}"],
        [f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"],
        [f"X-Authorization: Bearer {token}", f"Cookie: token={token}"],
    ):
        assert_unauthorized(server.api("GET", "/auth/tokens", None, *headers, who=None))


def test_an_api_token(server: SystemServer) -> None:
    begin = datetime.now(UTC).replace(microsecond=0)
    made = new_token(server, name="nightly backup é")
    text, info = made["token"], made["token_info"]
    assert made.keys() == {"token", "token_info"}
    assert info.keys() == {"id", "name", "username", "last_used_at", "expires_at", "created_at"}
    assert (info["name"], info["username"]) == ("nightly backup é", "admin")
    assert (info["expires_at"], info["last_used_at"]) == (None, None)
    assert info["created_at"].endswith("Z")
    assert begin <= datetime.fromisoformat(info["created_at"]) <= datetime.now(UTC)
    assert info in server.data("/auth/tokens")
    assert server.data(f"/auth/tokens/{info['id']}") == info
    used = with_token(server, "GET", f"/auth/tokens/{info['id']}", text).json["data"]
    assert begin <= datetime.fromisoformat(used["last_used_at"]) <= datetime.now(UTC)
    assert {**used, "last_used_at": None} == info
    # It has its user's rights, and is of no session.
    assert with_token(server, "POST", "/auth/tokens", text, {"name": "x"}).status == 200
    for path in ("/auth/refresh", "/auth/logout"):
        answer = with_token(server, "POST", path, text)
        assert answer.status == 400
        assert "API token" in answer.json["error"]["message"]
    restart(server)
    assert server.data(f"/auth/tokens/{info['id']}")["last_used_at"] >= used["last_used_at"]
    assert server.api("DELETE", f"/auth/tokens/{info['id']}").status == 200
    assert not alive(server, text)
    assert info["id"] not in [token["id"] for token in server.data("/auth/tokens")]
    for method in ("GET", "DELETE"):
        answer = server.api(method, f"/auth/tokens/{info['id']}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")


def test_an_api_token_with_an_end(server: SystemServer) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    made = new_token(server, expires_at=end.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat())
    assert datetime.fromisoformat(made["token_info"]["expires_at"]) == end
    assert made["token_info"]["expires_at"].endswith("Z")
    while datetime.now(UTC) < end:
        time.sleep(0.05)
    assert not alive(server, made["token"])
    assert made["token_info"]["id"] in [token["id"] for token in server.data("/auth/tokens")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "ab\n"}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": 4102444800}, "expires_at"),
        ({"name": "x", "expires_at": "2100-01-01"}, "expires_at"),
        ({"name": "x", "expires_at": "2100-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "0001-01-01T00:00:00+23:59"}, "expires_at"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
    ],
    ids=str,
)
def test_an_api_token_that_cannot_be(server: SystemServer, body: dict[str, Any], field: str) -> None:
    before = server.data("/auth/tokens")
    answer = server.api("POST", "/auth/tokens", body)
    assert answer.status == 400
    error = answer.json["error"]
    assert field in error["message"] + error.get("details", "")
    assert server.data("/auth/tokens") == before


def test_so_many_api_tokens_and_no_more(server: SystemServer) -> None:
    server.machine.add_user("hoarder", PASSWORD, "sudo")
    server.log_in("hoarder")
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda n: server.api("POST", "/auth/tokens", {"name": str(n)}, who="hoarder"), range(103))
        assert sorted(answer.status for answer in made) == [200] * 100 + [409] * 3
    new_token(server)


def test_those_who_only_read_see_their_own(server: SystemServer) -> None:
    server.machine.add_user("former", PASSWORD, "sudo")
    server.log_in("former")
    own = new_token(server, who="former")["token_info"]
    info = new_token(server)["token_info"]
    server.machine.run("gpasswd", "-d", "former", "sudo")
    restart(server)  # what it knows of users is up to a minute old
    for who, seen in (("reader", []), ("former", [own])):
        server.log_in(who)
        assert server.data("/auth/tokens", who=who) == seen
        assert server.api("GET", f"/auth/tokens/{info['id']}", who=who).status == 404
    assert server.data(f"/auth/tokens/{own['id']}", who="former") == own
    for method, path in (("POST", "/auth/tokens"), ("DELETE", f"/auth/tokens/{own['id']}")):
        answer = server.api(method, path, {"name": "mine"}, who="former")
        assert (answer.status, answer.json["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert own in server.data("/auth/tokens")


def test_a_new_password_ends_all_that_was_issued(server: SystemServer) -> None:
    server.machine.add_user("careless", PASSWORD, "sudo")
    first, second = server.log_in("careless"), server.log_in("careless")
    text = new_token(server, who="careless")["token"]
    assert server.api("POST", "/users/careless/reset-password", {"password": "another horse 9"}).status == 200
    assert not any(alive(server, token) for token in (first["token"], second["token"], text))
    assert "careless" not in [token["username"] for token in server.data("/auth/tokens")]
    assert log_in(server, {"username": "careless", "password": PASSWORD}, "127.0.0.6").status == 401
    assert alive(server, server.log_in("careless", "another horse 9")["token"])
    assert alive(server, server.tokens["admin"])


def test_a_user_made_again_inherits_nothing(server: SystemServer) -> None:
    body = {"username": "phoenix", "password": PASSWORD, "groups": "sudo"}
    assert server.api("POST", "/users", body).status == 200
    uid = server.machine.run("id", "-u", "phoenix").stdout
    old = server.log_in("phoenix")
    text = new_token(server, who="phoenix")["token"]
    assert server.api("DELETE", "/users/phoenix?remove_home=true").status == 200
    assert not any(alive(server, token) for token in (old["token"], text))
    assert server.api("POST", "/users", body).status == 200
    assert server.machine.run("id", "-u", "phoenix").stdout == uid
    assert not any(alive(server, token) for token in (old["token"], text))
    assert "phoenix" not in [token["username"] for token in server.data("/auth/tokens")]
    assert alive(server, server.log_in("phoenix")["token"])


@pytest.mark.parametrize(("name", "directory"), [("leaver", False), ("faraway", True)])
def test_a_user_who_is_not_found(server: SystemServer, name: str, directory: bool) -> None:
    """Whoever is gone leaves nothing to the next of that name; whoever is only out of reach comes back to all of it."""
    run = server.machine.run
    if directory:
        run("sed", "-i", "s/^passwd:.*/& sss/", "/etc/nsswitch.conf")
    server.machine.add_user(name, PASSWORD, "sudo")
    token, text = server.log_in(name)["token"], new_token(server, who=name)["token"]
    run("cp", "-a", "/etc/passwd", "/run/passwd.away")
    run("sed", "-i", f"/^{name}:/d", "/etc/passwd")
    restart(server)
    assert not any(alive(server, each) for each in (token, text))
    assert (
        [name] == [each["username"] for each in server.data("/auth/tokens") if each["username"] == name]
    ) is directory
    run("cp", "-a", "/run/passwd.away", "/etc/passwd")
    restart(server)
    assert [alive(server, each) for each in (token, text)] == [directory] * 2


@pytest.mark.parametrize(("name", "change"), [("demoted", {"groups": ""}), ("shut", {"locked": True})])
def test_who_loses_rights_loses_what_was_issued(server: SystemServer, name: str, change: dict[str, Any]) -> None:
    server.machine.add_user(name, PASSWORD, "sudo")
    token, text = server.log_in(name)["token"], new_token(server, who=name)["token"]
    assert server.api("PUT", f"/users/{name}", change).status == 200
    assert not any(alive(server, each) for each in (token, text))
    again = log_in(server, {"username": name, "password": PASSWORD}, "127.0.0.7")
    assert again.status == (401 if change.get("locked") else 200)


def test_a_database_that_is_held_by_another_process(server: SystemServer) -> None:
    """What cannot be stored is told, and ends all the same."""
    names = ("leaving", "renewing", "deleted", "removed")
    for name in names:
        server.machine.add_user(name)
    granted = {name: server.log_in(name) for name in names}
    text = new_token(server)["token"]
    server.machine.run("userdel", "removed")
    restart(server)  # what it knows of users is up to a minute old
    tokens = len(server.data("/auth/tokens"))
    with closing(sqlite3.connect(server.server.state / "appliance.db", isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            tries = [
                pool.submit(server.api, "POST", "/auth/logout", who="leaving"),
                pool.submit(server.api, "POST", "/auth/refresh", granted["renewing"], who="renewing"),
                pool.submit(server.api, "POST", "/auth/tokens", {"name": "unstored"}),
                pool.submit(server.api, "DELETE", "/users/deleted"),
            ]
            gone = pool.submit(alive, server, granted["removed"]["token"])
            reading = pool.submit(server.api, "GET", "/system/summary")
            answers = [each.result() for each in tries]
            assert (gone.result(), reading.result().status) == (False, 200)
        assert not any(alive(server, granted[name]["token"]) for name in ("leaving", "deleted"))
        stranger.execute("ROLLBACK")
    assert [answer.status for answer in answers] == [503] * len(answers)
    assert answers[-1].json["error"]["message"].startswith("User deleted is deleted, but ")
    assert server.machine.run("getent", "passwd", "deleted", check=False).stdout == ""
    assert len(server.data("/auth/tokens")) == tokens
    assert alive(server, text)
    assert "Traceback" not in server.server.log.read_text()


def test_what_is_audited(server: SystemServer) -> None:
    name = "no such user " + "x" * 200
    assert log_in(server, {"username": name, "password": WRONG}, "127.0.0.8").status == 401
    kind, actor, subject, outcome, _ = audited(server.server.state, "auth.login")[-1]
    assert (kind, actor, subject, outcome) == ("anonymous", "", name[:64], "refused: Invalid username or password")
    data = server.log_in("reader")
    assert audited(server.server.state, "auth.login")[-1][:4] == ("session", "reader", "reader", "success")
    with_token(server, "POST", "/auth/refresh", data["token"])
    assert audited(server.server.state, "auth.refresh")[-1][:2] == ("session", "reader")
    with_token(server, "POST", "/auth/logout", data["token"])
    assert audited(server.server.state, "auth.logout")[-1][:2] == ("session", "reader")
    made = new_token(server, name="audited one")
    entry = audited(server.server.state, "auth.token.create")[-1]
    assert entry[:4] == ("session", "admin", made["token_info"]["id"], "success")
    assert "audited one" in entry[4]
    with_token(server, "DELETE", f"/auth/tokens/{made['token_info']['id']}", made["token"])
    assert audited(server.server.state, "auth.token.delete")[-1][:4] == (
        "token",
        "admin",
        made["token_info"]["id"],
        "success",
    )
    server.log_in("reader")
    assert server.api("POST", "/auth/tokens", {"name": "x"}, who="reader").status == 403
    entry = audited(server.server.state, "auth.token.create")[-1]
    assert entry[1:4] == ("reader", "/api/v1/auth/tokens", "refused: Permission denied")


def test_secrets_are_in_no_file(server: SystemServer) -> None:
    data, text = server.log_in("admin"), new_token(server)["token"]
    with_token(server, "GET", f"/auth/tokens?token={text}", data["token"])
    server.api("POST", "/auth/refresh", {"refresh_token": data["refresh_token"]})
    log_in(server, {"username": "admin", "password": WRONG}, "127.0.0.9")
    restart(server)
    files = [server.server.log, *(path for path in server.server.state.rglob("*") if path.is_file())]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        for secret in (data["token"], data["refresh_token"], text, PASSWORD, WRONG):
            assert secret.encode() not in content, path


def test_log_in_is_off_where_any_password_is_accepted(tmp_path_factory: pytest.TempPathFactory) -> None:
    with system_server(tmp_path_factory.mktemp("permissive")) as server:
        with service(server.machine, "auth required pam_permit.so\naccount required pam_permit.so\n"):
            restart(server)
            bodies = [{"username": "admin", "password": password} for password in (PASSWORD, WRONG)]
            with ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(lambda body: log_in(server, body), bodies))
            for answer in answers:
                assert (answer.status, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
                assert "/etc/pam.d/appliance" in answer.json["error"]["message"]
            assert alive(server, server.tokens["admin"])
        restart(server)
        assert log_in(server, {"username": "admin", "password": PASSWORD}).status == 200
