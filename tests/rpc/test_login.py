"""Logging in and out over real HTTPS: users of both kinds, tokens, sudo mode, and who guesses."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import jwt
import pytest

from tests.support.machine import PASSWORD
from tests.support.rpc import LOCAL_PASSWORD, RpcServer, rpc_server
from tests.support.server import Answer

INCORRECT = {"code": 401, "data": None, "message": "incorrect Username or Password"}
MISSING = {"code": 401, "data": None, "message": "missing Username or Password"}
REVOKED = {"code": 403, "data": None, "message": "you don't have permission to access this resource"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("login"), host_users=True) as server:
        yield server


def login(server: RpcServer, username: object, password: object) -> Answer:
    return server.api("POST", "/login", {"username": username, "password": password})


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return found


def status(server: RpcServer, token: str) -> int:
    """What an endpoint says that any live token opens."""
    return server.api("GET", "/2fa", token=token).status


def test_a_login_gives_a_token_without_envelope(server: RpcServer) -> None:
    answer = login(server, "root", LOCAL_PASSWORD)
    assert answer.status == 200
    assert set(answer.json) == {"code", "expire", "token"} and answer.json["code"] == 200
    expire = datetime.strptime(answer.json["expire"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    said = claims(answer.json["token"])
    assert expire.timestamp() == said["exp"]
    assert said["exp"] - said["orig_iat"] == 24 * 3600  # type: ignore[operator]
    assert (said["id"], said["2fa"], said["role"], said["actions"]) == ("root", False, "admin", [])
    assert said["aud"] == "appliance:rpc" and said["jti"] and "sudo" not in said
    assert answer.headers["cache-control"] == "no-store"


def test_the_form_of_the_credentials_does_not_matter(server: RpcServer) -> None:
    form = f"username=root&password={LOCAL_PASSWORD.replace(',', '%2C')}"
    assert server.curl("-d", form, path="/api/login").status == 200
    fields = ("-F", "username=root", "-F", f"password={LOCAL_PASSWORD}")
    assert server.curl(*fields, path="/api/login").status == 200
    # As curl sends JSON that it is not told about.
    body = json.dumps({"username": "root", "password": LOCAL_PASSWORD})
    assert server.curl("-d", body, path="/api/login").status == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b'{"username":"root"}'),
        ("application/json", b'{"username":"root","password":""}'),
        ("application/json", b'{"username":1,"password":"x"}'),
        ("application/json", b'{"username":"\xff","password":"x"}'),
        (FORM, b"username=root"),
        (FORM, b"username=root&password=%ff"),
        (FORM, b"&" * 200),
        ("multipart/form-data", b"--b\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=username\r\n\r\nroot\r\n--b--\r\n",
        ),
        ("multipart/form-data; boundary=b", b"nonsense"),
    ],
)
def test_credentials_that_are_not_there(server: RpcServer, kind: str, body: bytes) -> None:
    answer = server.curl("-H", f"Content-Type: {kind}", "--data-binary", "@-", path="/api/login", stdin=body)
    assert (answer.status, answer.json) == (401, MISSING)
    assert answer.headers["www-authenticate"] == "JWT realm=nethserver"


def test_a_login_of_any_size_is_answered(server: RpcServer) -> None:
    assert server.api("POST", "/login", b" " * 32 * 1024 + b"{}").status == 413
    assert server.api("POST", "/logout", b" " * 1025, token=server.log_in()).status == 413
    assert server.api("POST", "/sudo", b" " * (32 * 1024 + 1), token=server.tokens["root"]).status == 413


def test_every_wrong_login_looks_alike(server: RpcServer) -> None:
    cases = [("root", "wrong"), ("reader", "x" * 4000), ("hostadmin", "wrong"), ("unknown", "wrong"), ("--help", "x")]
    begun = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda case: login(server, *case), cases))
    assert time.monotonic() - begun >= 2  # each is padded
    for answer in answers:
        assert (answer.status, answer.json) == (401, INCORRECT)
        assert answer.headers["www-authenticate"] == "JWT realm=nethserver"
    log = server.server.log.read_text()
    for name in ("root", "reader", "hostadmin", "unknown", "--help"):
        assert f"authentication failed for user {name} from 127.0.0.1" in log


def test_a_name_that_could_deceive_a_ban_tool_is_not_logged(server: RpcServer) -> None:
    assert login(server, "x from 192.0.2.1\nfoo", "wrong").status == 401
    assert "authentication failed for user invalid from 127.0.0.1" in server.server.log.read_text()
    assert "for user x from" not in server.server.log.read_text()


def test_users_of_the_host_have_what_their_groups_have(server: RpcServer) -> None:
    for name in ("hostadmin", "ops", "plain"):
        server.log_in(name, PASSWORD)
    assert claims(server.tokens["hostadmin"])["role"] == "admin"
    assert server.data("ns.test", "hidden", who="hostadmin") == {}
    assert server.data("ns.test", "set-it", who="ops") == {}
    assert server.data("ns.test", "say", who="ops") == {}
    assert server.call("ns.test", "hidden", who="ops").status == 403
    assert server.call("ns.test", "say", who="plain").status == 403


def test_two_logins_in_a_second_are_two_sessions(server: RpcServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(lambda _: login(server, "root", LOCAL_PASSWORD).json["token"], range(8)))
    assert len(set(tokens)) == 8
    assert server.api("POST", "/logout", token=tokens[0]).json == {"code": 200}
    assert [status(server, token) for token in tokens] == [403] + [200] * 7


def test_logging_out(server: RpcServer) -> None:
    token = server.log_in()
    answer = server.api("POST", "/logout", token=token)
    assert (answer.status, answer.json) == (200, {"code": 200})
    again = server.api("POST", "/logout", token=token)
    assert (again.status, again.json) == (403, REVOKED)
    assert server.api("POST", "/logout").status == 401


def test_renewing(server: RpcServer) -> None:
    old = server.log_in()
    answer = server.api("GET", "/refresh", token=old)
    assert answer.status == 200 and set(answer.json) == {"code", "expire", "token"}
    new = answer.json["token"]
    assert claims(new)["orig_iat"] == claims(old)["orig_iat"]
    assert claims(new)["jti"] != claims(old)["jti"]
    assert status(server, old) == 403 and status(server, new) == 200
    assert server.api("GET", "/refresh", token=old).status == 403


def test_sudo_mode(server: RpcServer) -> None:
    token = server.log_in()
    answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD}, token=token)
    assert answer.status == 200
    assert answer.json["code"] == 0 and answer.json["message"] == "sudo_enabled"
    raised = answer.json["data"]["token"]
    assert abs(claims(raised)["sudo"] - time.time()) < 60  # type: ignore[operator]
    assert claims(raised)["exp"] == claims(token)["exp"]
    assert status(server, token) == 200 == status(server, raised)
    refused = server.api("GET", "/2fa/qr-code", token=token)
    assert (refused.status, refused.json) == (403, {"code": 0, "data": None, "message": "sudo mode required"})
    assert server.api("GET", "/2fa/recovery-codes", token=raised).status == 200


def test_sudo_mode_takes_the_password(server: RpcServer) -> None:
    token = server.log_in()
    answer = server.api("POST", "/sudo", {"password": "wrong"}, token=token)
    assert answer.status == 400
    error = {"message": "invalid_password", "parameter": "password", "value": ""}
    data = {"validation": {"errors": [error]}}
    assert answer.json == {"code": 400, "data": data, "message": "validation_failed"}
    for body in (b"", b"{}", b'{"password":1}', b"[]"):
        answer = server.api("POST", "/sudo", body, token=token)
        assert (answer.status, answer.json["message"]) == (400, "request fields malformed")
    # A code is looked at where there is one, and there is nothing to compare it with.
    answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD, "otp": "123456"}, token=token)
    assert answer.json["data"]["validation"]["errors"][0]["message"] == "invalid_otp"
    assert server.api("POST", "/sudo", {"password": LOCAL_PASSWORD, "otp": ""}, token=token).status == 200


def test_sessions_outlive_a_kill_and_so_do_their_ends(server: RpcServer) -> None:
    live, ended = server.log_in(), server.log_in()
    assert server.api("POST", "/logout", token=ended).status == 200
    server.server.kill()
    server.server.start()
    assert status(server, live) == 200
    assert status(server, ended) == 403


def test_a_new_password_ends_the_sessions_of_a_local_user(server: RpcServer) -> None:
    before = server.users_file.read_text()
    token = server.log_in("nobody")
    assert status(server, token) == 200
    changed = before.replace("[user.nobody]\npassword_hash", '[user.nobody]\npassword_hash = "scrypt:1:1:1$a$b"\n#')
    server.users_file.write_text(changed)
    assert server.api("GET", "/2fa", token=token).json == REVOKED
    server.users_file.write_text(before)


def test_a_users_file_that_cannot_be_used_changes_nothing(server: RpcServer) -> None:
    before = server.users_file.read_text()
    server.users_file.write_text("[user.root\n")
    server.log_in("reader")
    assert "is not taken over" in server.server.log.read_text()
    server.users_file.write_text(before)


def test_a_user_of_the_host_who_is_locked_is_out(server: RpcServer) -> None:
    server.machine.add_user("leaver", PASSWORD, "sudo")
    token = server.log_in("leaver", PASSWORD)
    server.machine.run("usermod", "-L", "leaver")
    assert login(server, "leaver", PASSWORD).json == INCORRECT  # which also makes the account be looked at anew
    assert server.api("GET", "/2fa", token=token).status in (200, 403)
    server.machine.run("userdel", "leaver")


def test_a_password_changed_over_the_system_api_ends_sessions_here(server: RpcServer) -> None:
    server.machine.add_user("changer")
    token = server.log_in("changer", PASSWORD)
    body = json.dumps({"username": "hostadmin", "password": PASSWORD})
    json_type = ("-H", "Content-Type: application/json")
    admin = server.curl(*json_type, "-d", body, path="/api/v1/auth/login").json["data"]["token"]
    bearer = ("-H", f"Authorization: Bearer {admin}")
    new = json.dumps({"password": "Another-1-password"})
    path = "/api/v1/users/changer/reset-password"
    answer = server.curl("-X", "POST", *json_type, *bearer, "-d", new, path=path)
    assert answer.status == 200, answer
    assert server.api("GET", "/2fa", token=token).json == REVOKED


def test_guessing_has_to_wait(server: RpcServer) -> None:
    def guess(number: int) -> int:
        return login(server, "reader", f"wrong {number}").status

    with ThreadPoolExecutor(5) as pool:  # each takes two seconds
        statuses = list(pool.map(guess, range(4)))
        assert login(server, "reader", LOCAL_PASSWORD).status == 200  # which resets
        statuses += pool.map(guess, range(5))
    assert statuses == [401] * 9
    answer = login(server, "reader", LOCAL_PASSWORD)
    assert answer.status == answer.json["code"] == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert login(server, "nobody", LOCAL_PASSWORD).status == 200  # another user from there
    time.sleep(2)
    assert login(server, "reader", LOCAL_PASSWORD).status == 200


def test_many_guesses_at_once_are_not_all_looked_at(server: RpcServer) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda number: login(server, "hostadmin", f"wrong {number}").status, range(20)))
    assert set(found) == {401, 429}
    assert found.count(401) <= 9  # five, and those that were being checked when the fifth failed


def test_no_password_is_kept_or_told(server: RpcServer) -> None:
    log = server.server.log.read_text()
    database = (server.server.state / "appliance.db").read_bytes()
    for secret in (LOCAL_PASSWORD, PASSWORD, server.tokens["root"]):
        assert secret not in log
        assert secret.encode() not in database
    for secret in ("tokens.key", "master.key"):
        file = server.server.state / secret
        assert file.stat().st_mode & 0o777 == 0o600
        assert base64.b64encode(file.read_bytes()).decode() not in log
