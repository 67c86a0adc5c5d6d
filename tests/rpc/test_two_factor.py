"""The second factor over real HTTPS, from the QR code to its end. Codes are made by pyotp, as a phone makes them."""

import base64
import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
import pyotp
import pytest

from tests.support.rpc import LOCAL_PASSWORD, RpcServer, rpc_server
from tests.support.server import Answer

INVALID_OTP = {
    "code": 400,
    "data": {"validation": {"errors": [{"message": "invalid_otp", "parameter": "otp", "value": ""}]}},
    "message": "validation_failed",
}
TOKEN_INVALID = {"code": 400, "data": None, "message": "JWT token invalid"}
REVOKED = {"code": 403, "data": None, "message": "you don't have permission to access this resource"}
USERS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("2fa")) as server:
        text = server.users_file.read_text()
        hashed = text.split('password_hash = "')[1].split('"')[0]
        server.users_file.write_text(text + "".join(f'\n[user.{name}]\npassword_hash = "{hashed}"\n' for name in USERS))
        yield server


class Phone:
    """Gives each code once: the next one where the last was given already, as the server wants it."""

    def __init__(self, key: str) -> None:
        self._totp = pyotp.TOTP(key)
        self._step = int(time.time()) // 30 - 2  # codes of a step ago count still

    def code(self) -> str:
        self._step = max(self._step + 1, int(time.time()) // 30 - 1)
        while self._step > int(time.time()) // 30 + 1:
            time.sleep(0.2)
        return self._totp.generate_otp(self._step)


def verify(server: RpcServer, user: str, token: str, otp: str) -> Answer:
    return server.api("POST", "/2fa/otp-verify", {"username": user, "token": token, "otp": otp})


def enrolled(server: RpcServer, user: str) -> Phone:
    """Turn the second factor of a user on, who has one live token then."""
    token = server.log_in(user)
    key = server.api("GET", "/2fa/qr-code", token=server.sudo(user)).json["data"]["key"]
    phone = Phone(key)
    answer = verify(server, user, token, phone.code())
    assert (answer.status, answer.json) == (200, {"code": 200, "data": None, "message": "OTP verified"})
    return phone


def raised(server: RpcServer, user: str) -> str:
    """A token in sudo mode."""
    return server.sudo(user)


def test_from_the_first_code_to_the_last(server: RpcServer) -> None:
    other, token = server.log_in("ada"), server.log_in("ada")
    assert server.api("GET", "/2fa", token=token).json == {"status": False}
    sudo = server.sudo("ada")

    answer = server.api("GET", "/2fa/qr-code", token=sudo)
    assert (answer.status, answer.json["code"], answer.json["message"]) == (200, 200, "QR code string")
    key, url = answer.json["data"]["key"], answer.json["data"]["url"]
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path).endswith(":ada")
    assert parse_qs(parts.query)["secret"] == [key]
    assert len(base64.b32decode(key)) == 20
    assert server.api("GET", "/2fa/qr-code", token=sudo).json["data"]["key"] == key  # the same until it is on

    picture = server.api("GET", "/2fa/qr-code", None, "Accept: image/svg+xml", token=sudo)
    assert (picture.status, picture.headers["content-type"]) == (200, "image/svg+xml")
    assert ElementTree.fromstring(picture.body).tag == "{http://www.w3.org/2000/svg}svg"

    phone = Phone(key)
    wrong = verify(server, "ada", token, "000000")
    assert (wrong.status, wrong.json) == (400, INVALID_OTP)
    assert server.api("GET", "/2fa", token=token).json == {"status": False}
    assert verify(server, "ada", token, phone.code()).status == 200
    assert server.api("GET", "/2fa", token=token).json == {"status": True}
    assert [server.api("GET", "/2fa", token=each).json for each in (other, sudo)] == [REVOKED] * 2

    pending = server.log_in("ada")
    assert jwt.decode(pending, options={"verify_signature": False})["2fa"] is True
    for method, path in (("GET", "/2fa"), ("GET", "/refresh"), ("POST", "/ubus/call"), ("POST", "/sudo")):
        answer = server.api(method, path, token=pending)
        assert (answer.status, answer.json) == (403, REVOKED)
        assert answer.headers["www-authenticate"] == "JWT realm=nethserver"
    code = phone.code()
    assert verify(server, "ada", pending, code).status == 200
    assert server.api("GET", "/2fa", token=pending).status == 200
    assert server.api("GET", "/2fa", token=token).status == 200  # only the first code ends the others

    another = server.log_in("ada")
    assert verify(server, "ada", another, code).json == INVALID_OTP  # each code once
    assert verify(server, "ada", another, phone.code()).status == 200

    server.tokens["ada"] = another
    assert server.api("GET", "/2fa/qr-code", token=raised(server, "ada")).status == 409  # never shown again
    assert server.api("DELETE", "/2fa", token=another).json["message"] == "sudo mode required"
    off = server.api("DELETE", "/2fa", token=raised(server, "ada"))
    assert (off.status, off.json) == (200, {"code": 200, "data": "", "message": "2FA revocate successfully"})
    assert server.api("DELETE", "/2fa", token=raised(server, "ada")).status == 404
    assert server.api("GET", "/2fa", token=server.log_in("ada")).json == {"status": False}


def test_recovery_codes(server: RpcServer) -> None:
    server.log_in("bob")
    assert server.api("GET", "/2fa/recovery-codes", token=server.sudo("bob")).json == {"codes": []}  # not on
    enrolled(server, "bob")
    sudo = server.sudo("bob")
    codes = server.api("GET", "/2fa/recovery-codes", token=sudo).json["codes"]
    assert len(set(codes)) == 10
    assert server.api("GET", "/2fa/recovery-codes", token=sudo).json == {"codes": []}
    token = server.log_in("bob")
    assert verify(server, "bob", token, codes[0].upper().replace("-", " ")).status == 200
    assert server.api("GET", "/2fa", token=token).status == 200
    token = server.log_in("bob")
    assert verify(server, "bob", token, codes[0]).json == INVALID_OTP
    assert verify(server, "bob", token, codes[1]).status == 200
    database = (server.server.state / "appliance.db").read_bytes()
    wal = (server.server.state / "appliance.db-wal").read_bytes()
    for code in codes:
        assert code.encode() not in database + wal
        assert code.replace("-", "").encode() not in database + wal
        assert code not in server.server.log.read_text()


def test_a_code_for_the_token_of_somebody_else(server: RpcServer) -> None:
    phone = enrolled(server, "cyd")
    pending = server.log_in("cyd")
    foreign = server.log_in("root")
    code = phone.code()
    assert verify(server, "cyd", foreign, code).json == TOKEN_INVALID
    assert verify(server, "root", pending, code).json == TOKEN_INVALID
    assert verify(server, "cyd", "garbage", code).json == TOKEN_INVALID
    logged_out = server.log_in("cyd")
    assert server.api("POST", "/logout", token=logged_out).status == 200  # a token that waits may go
    assert verify(server, "cyd", logged_out, code).json == TOKEN_INVALID
    assert verify(server, "cyd", pending, code).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"username":"ada"}', b'{"username":1,"token":"x","otp":"y"}'])
def test_a_malformed_verification(server: RpcServer, body: bytes) -> None:
    answer = server.api("POST", "/2fa/otp-verify", body)
    assert (answer.status, answer.json["message"]) == (400, "request fields malformed")
    assert server.api("POST", "/2fa/otp-verify", b" " * (32 * 1024 + 1)).status == 413


def test_a_user_without_a_second_factor(server: RpcServer) -> None:
    answer = verify(server, "dan", server.log_in("dan"), "123456")
    assert (answer.status, answer.json) == (404, {"code": 404, "data": None, "message": "user secret not found"})


def test_guessing_codes_has_to_wait(server: RpcServer) -> None:
    enrolled(server, "eve")
    pending = server.log_in("eve")
    statuses = [verify(server, "eve", pending, f"{number:06}").status for number in range(5)]
    assert statuses == [400] * 5
    answer = verify(server, "eve", pending, "999999")
    assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 2


def test_sudo_mode_looks_at_the_code_that_is_sent(server: RpcServer) -> None:
    phone = enrolled(server, "fay")
    token = server.tokens["fay"]
    answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD, "otp": "000000"}, token=token)
    assert (answer.status, answer.json) == (400, INVALID_OTP)
    answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD, "otp": phone.code()}, token=token)
    assert answer.status == 200


def test_it_outlives_a_kill_and_the_seed_is_not_readable(server: RpcServer) -> None:
    token = server.log_in("gus")
    key = server.api("GET", "/2fa/qr-code", token=server.sudo("gus")).json["data"]["key"]
    phone = Phone(key)
    code = phone.code()
    assert verify(server, "gus", token, code).status == 200
    server.server.kill()
    server.server.start()
    assert server.api("GET", "/2fa", token=token).json == {"status": True}
    pending = server.log_in("gus")
    assert verify(server, "gus", pending, code).json == INVALID_OTP
    assert verify(server, "gus", pending, phone.code()).status == 200
    for name in ("appliance.db", "appliance.db-wal"):
        content = (server.server.state / name).read_bytes()
        assert key.encode() not in content and base64.b32decode(key) not in content
    assert key not in server.server.log.read_text()
    details = json.dumps([row["details"] for row in server.audit()])
    assert key not in details and code not in details


def test_sudo_mode_may_ask_for_a_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    with rpc_server(tmp_path_factory.mktemp("otp"), "sudo_otp = true\n") as server:
        phone = enrolled(server, "root")  # without a code, for there was none
        token = server.tokens["root"]
        answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD}, token=token)
        assert (answer.status, answer.json) == (400, INVALID_OTP)
        answer = server.api("POST", "/sudo", {"password": LOCAL_PASSWORD, "otp": phone.code()}, token=token)
        assert answer.json["message"] == "sudo_enabled"
