"""Who may ask: token, hash, signed header, first run and setup, over HTTPS with curl and openssl."""

import hashlib
import hmac
import re
import secrets
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import API, TOKEN, Answer, Server, hash_of, running
from tests.support.surface import ENDPOINTS, REFUSED
from tests.support.vendor import json_file, openssl

OPEN = "[admin]\nbackoff_after = 0\n"
SETUP_PAUSE = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("authentication"), OPEN) as server:
        yield server


def assert_refused(answer: Answer) -> None:
    assert (answer.status, answer.json) == (403, REFUSED)
    assert answer.headers["error-message"] == "Authentication error"


# -- token and hash


def digest(text: str, *options: str) -> str:
    """What `echo -n TEXT | openssl dgst -sha256 …` prints at the end of its line."""
    return openssl("dgst", "-sha256", *options, stdin=text.encode()).split()[-1].decode()


def test_the_references_vector_with_openssl_and_curl(server: Server) -> None:
    key = digest("yourtoken")
    assert key == "13e2ff941bbc8692cad141c8d293dda2c4f1c1a3c51b93d54f1a1693e1206107"
    hashed = digest("GET/api/v1/admin/version", "-hmac", key)
    assert hashed == "b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241"
    assert server.curl(path=f"/version?hash={hashed}").json == {"version": "1.0.0"}


@pytest.mark.parametrize("query", [
    f"token={TOKEN}",
    f"hash={hash_of('GET', '/version')}",
    f"hash={hash_of('GET', '/version')}&token=wrong",
    f"token=wrong&hash={hash_of('GET', '/version')}",
    f"unknown=1&token={TOKEN}",
    "token=%79ourtoken",
])  # fmt: skip
def test_good_credentials(server: Server, query: str) -> None:
    assert server.curl(path=f"/version?{query}").json == {"version": "1.0.0"}


@pytest.mark.parametrize("query", [
    "", "token=", "token", "hash=", "token=wrong", "token=yourtoke", "token=yourtokenx", "token=YOURTOKEN",
    "token=%FFyour", "token=y%C3%B6urtoken",
    f"token={TOKEN}%20", f"Token={TOKEN}",
    "hash=wrong", f"hash=wrong&token={TOKEN}", f"hash=&token={TOKEN}",
    f"hash={hash_of('GET', '/version').upper()}",
    f"hash={hash_of('GET', '/changelog')}",
    f"hash={hash_of('POST', '/version')}",
    f"hash={hash_of('GET', '/version?x=1')}",
    f"hash={hash_of('GET', '/version', '')}",
    f"token={hash_of('GET', '/version')}", f"hash={TOKEN}",
    "token=" + "x" * 4000,
])  # fmt: skip
def test_bad_credentials(server: Server, query: str) -> None:
    answer = server.curl(path=f"/version?{query}")
    if query.startswith("token=%FF"):  # no text at all
        assert answer.status == 400
    else:
        assert_refused(answer)


def test_credentials_as_form_fields(server: Server) -> None:
    for field in (f"token={TOKEN}", f"hash={hash_of('POST', '/backup')}"):
        assert server.curl("-F", field, "-F", "action=STOP", path="/backup").status == 202
        assert server.curl("-F", "action=STOP", "-F", field, path="/backup").status == 202
        assert server.curl("-d", field, "-d", "action=STOP", path="/backup").status == 202
    for field in ("token=wrong", "token=", "hash=wrong", f"hash={hash_of('POST', '/settings')}"):
        assert_refused(server.curl("-F", field, "-F", "action=STOP", path="/backup"))
        assert_refused(server.curl("-d", field, "-d", "action=STOP", path="/backup"))
    assert_refused(server.curl("-F", "hash=wrong", "-F", f"token={TOKEN}", "-F", "action=STOP", path="/backup"))


def test_a_fields_credentials_must_come_before_the_first_file(server: Server, tmp_path: Path) -> None:
    settings = json_file(tmp_path / "settings.json", {"network": {"interface": "eth0", "hostname": "form.host"}})
    package = tmp_path / "package"
    package.write_bytes(b"p" * 3_000_000)
    token, file = ("-F", f"token={TOKEN}"), ("-F", f"settings=@{settings}")
    assert_refused(server.curl(*file, *token, path="/settings"))
    assert not (server.admin / "etc" / "network.json").exists()
    assert_refused(server.curl("-F", f"update=@{package}", *token, path="/update"))
    assert list((server.admin / "uploads").glob("*package*")) == []
    assert list((server.admin / "uploads").glob(".upload-*")) == []
    assert server.curl(*token, *file, path="/settings").status == 202


def test_a_large_body_without_credentials_is_refused_for_their_want(server: Server, tmp_path: Path) -> None:
    """Not for its length, its type or its form: 403 at the first file part or at 64 KiB."""
    large = tmp_path / "large"
    large.write_bytes(b"\xff" * 3_000_000)
    for path in ("/settings", "/update", "/backup", "/setup", "/version"):
        assert_refused(server.curl("--data-binary", f"@{large}", path=path))
        assert_refused(server.curl("--data-binary", f"@{large}", "-H", "Content-Type: application/json", path=path))
        assert_refused(server.curl("-F", f"settings=@{large}", path=path))
        assert_refused(server.curl("-F", f"text=<{large}", path=path))
    assert list((server.admin / "uploads").glob(".upload-*")) == []
    answer = server.curl("-F", f"token={TOKEN}", "-F", f"settings=@{large}", path="/settings")
    assert answer.status == 413


def test_wrong_methods_and_unknown_paths(server: Server) -> None:
    good, bad = f"token={TOKEN}", "token=wrong"
    for method, path, expected in (("POST", "/version", "GET"), ("GET", "/setup", "POST"), ("PUT", "/logs", "GET")):
        answer = server.curl("-X", method, path=f"{path}?{good}")
        message = f"Invalid authentication method. Expected {expected}"
        assert (answer.status, answer.json["Error-Message"]) == (400, message)
        assert_refused(server.curl("-X", method, path=f"{path}?{bad}"))
        if method == "POST":
            answer = server.curl("-F", good, "-F", "update=@/etc/hostname", path=path)
            assert (answer.status, answer.json["Error-Message"]) == (400, message)
            assert server.curl("-d", good, path=path).json["Error-Message"] == message
            for field in ("-F", bad), ("-d", bad), ("-F", "update=@/etc/hostname"), ():
                assert_refused(server.curl("-X", method, *field, path=path))
    for path in ("/nothing", "/version/", "/Version", "/backup/nothing", "", "/setup/x"):
        for credentials in (good, bad):
            answer = server.curl(path=f"{path}?{credentials}")
            assert (answer.status, answer.json) == (404, {"Status": "404 Not Found"})


def test_a_token_changed_from_outside_counts_at_once(server: Server) -> None:
    file = server.admin / "etc" / "api.token"
    file.write_text("from-outside")
    try:
        time.sleep(0.1)
        assert_refused(server.curl(path=f"/version?token={TOKEN}"))
        assert_refused(server.curl(path=f"/version?hash={hash_of('GET', '/version')}"))
        assert server.curl(path="/version?token=from-outside").status == 200
    finally:
        file.write_text(TOKEN)
        time.sleep(0.1)
    assert server.get("/version").status == 200


# -- the signed header


def signed(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    query: str = "",
    age: int = 0,
    nonce: str | None = None,
    token: str = TOKEN,
) -> str:
    nonce = nonce or secrets.token_hex(16)
    sha256, timestamp = hashlib.sha256(body).hexdigest(), int(time.time()) - age
    key = hashlib.sha256(token.encode()).hexdigest().encode()
    lines = ("HMAC-SHA256", method, API + path, query, str(timestamp), nonce, sha256)
    signature = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    fields = f"timestamp={timestamp}, nonce={nonce}, digest={sha256}, signature={signature}"
    return f"Authorization: HMAC-SHA256 {fields}"


def test_a_signed_header_works_once(server: Server) -> None:
    header = signed("GET", "/version", query="a=1")
    assert server.curl("-H", header, path="/version?a=1").json == {"version": "1.0.0"}
    assert_refused(server.curl("-H", header, path="/version?a=1"))


def test_a_replay_is_refused_after_a_restart(server: Server) -> None:
    header = signed("GET", "/version")
    assert server.curl("-H", header, path="/version").status == 200
    server.kill()
    server.start()
    assert_refused(server.curl("-H", header, path="/version"))


def test_a_header_signed_by_openssl(server: Server) -> None:
    nonce, now = secrets.token_urlsafe(24), int(time.time())
    body = "action=STOP"
    message = f"HMAC-SHA256\nPOST\n{API}/backup\n\n{now}\n{nonce}\n{digest(body)}"
    signature = digest(message, "-hmac", digest(TOKEN))
    fields = f"timestamp={now}, nonce={nonce}, digest={digest(body)}, signature={signature}"
    assert server.curl("-H", f"Authorization: HMAC-SHA256 {fields}", "-d", body, path="/backup").status == 202


@pytest.mark.parametrize("header", [
    signed("GET", "/version", token="another"),
    signed("GET", "/changelog"),
    signed("POST", "/version"),
    signed("GET", "/version", query="a=1"),
    signed("GET", "/version")[:-1],
    signed("GET", "/version").replace("nonce=", "nonce=x"),
    "Authorization: HMAC-SHA256",
    "Authorization: HMAC-SHA256 timestamp=1, nonce=, digest=, signature=",
    "Authorization: Basic eW91cnRva2VuOg==",
    "Authorization: Bearer wrong",
    "Authorization:  \xff\xfe",
])  # fmt: skip
def test_bad_headers(server: Server, header: str) -> None:
    assert_refused(server.curl("-H", header, path="/version"))


@pytest.mark.parametrize("age", [-400, 301, 100_000])
def test_old_and_future_headers(server: Server, age: int) -> None:
    assert_refused(server.curl("-H", signed("GET", "/version", age=age), path="/version"))


def test_the_bodys_digest_must_be_right(server: Server) -> None:
    good = b"action=STOP"
    assert server.curl("-H", signed("POST", "/backup", good), "-d", good.decode(), path="/backup").status == 202
    for body in (b"action=START", b"action=STOP ", b""):
        answer = server.curl("-H", signed("POST", "/backup", good), "--data-binary", body.decode(), path="/backup")
        assert answer.status == 403
    assert server.get("/backup").status == 404
    assert server.curl("-H", signed("GET", "/version", b"x"), path="/version").status == 403


def test_the_digest_of_an_upload_must_be_right(server: Server, tmp_path: Path) -> None:
    head = '--b\r\nContent-Disposition: form-data; name="update"; filename="p.enc"\r\n\r\n'
    body = head.encode() + secrets.token_bytes(700_000) + b"\r\n--b--\r\n"
    (tmp_path / "body").write_bytes(body.replace(b"\r\n--b--", b"!\r\n--b--"))
    arguments = ("-H", "Content-Type: multipart/form-data; boundary=b", "--data-binary", f"@{tmp_path / 'body'}")
    answer = server.curl("-H", signed("POST", "/update", body), *arguments, path="/update")
    assert answer.status == 403
    assert server.get("/update").json == {"status": None, "log": None}
    assert list((server.admin / "uploads").iterdir()) == []
    (tmp_path / "body").write_bytes(body)
    answer = server.curl("-H", signed("POST", "/update", body), *arguments, path="/update")
    assert answer.status == 202
    server.until("/update", lambda seen: seen["status"] == "failed")


# -- setup


def test_setup_once_without_credentials_then_with_them(tmp_path: Path) -> None:
    with running(tmp_path / "server", OPEN, token=None) as server:
        for method, path in ENDPOINTS:
            if (method, path) != ("POST", "/setup"):
                assert_refused(server.curl("-X", method, path=path))
                assert_refused(server.curl("-X", method, path=f"{path}?token="))
        empty = hash_of("GET", "/version", token="")
        assert_refused(server.curl(path=f"/version?hash={empty}"))
        for bad in ("", "x" * 256, "with space", "tab\there", "ünicode", "line\nfeed", "del\x7f"):
            answer = server.curl("-F", f"newtoken={bad}", path="/setup")
            assert answer.status == 400
            assert not (server.admin / "etc" / "api.token").exists()
        assert server.curl("-X", "POST", path="/setup").status == 400
        longest = "!" + "~" * 254
        assert server.curl("-F", f"newtoken={longest}", path="/setup").json == {"Status": "200 OK"}
        file = server.admin / "etc" / "api.token"
        assert file.read_text() == longest
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        begun = time.monotonic()
        assert_refused(server.curl("-F", "newtoken=intruder", path="/setup"))
        assert time.monotonic() - begun >= SETUP_PAUSE
        assert file.read_text() == longest

        arguments = ("--data-urlencode", f"token={longest}", "-d", "newtoken=x")
        assert server.curl(*arguments, path="/setup").json == {"Status": "200 OK"}
        hashed = hash_of("POST", "/setup", token="x")
        assert server.curl("-F", f"newtoken={TOKEN}", path=f"/setup?hash={hashed}").status == 200
        assert file.read_text() == TOKEN
        assert server.get("/version").status == 200


@pytest.mark.parametrize(("value", "message"), [
    ("", "Missing or invalid string for option: newtoken. Allowed: ASCII characters 33-126"),
    ("a b", "Missing or invalid string for option: newtoken. Allowed: ASCII characters 33-126"),
    ("é", "Missing or invalid string for option: newtoken. Allowed: ASCII characters 33-126"),
    ("x" * 256, "Invalid string length for option: newtoken. Allowed: >= 1 and <= 255"),
])  # fmt: skip
def test_a_refused_token_changes_nothing(server: Server, value: str, message: str) -> None:
    answer = server.post("/setup", f"newtoken={value}")
    assert (answer.status, answer.json) == (400, {"Status": "400 Bad Request", "Error-Message": message})
    assert answer.headers["error-message"] == message
    assert (server.admin / "etc" / "api.token").read_text() == TOKEN
    assert server.get("/version").status == 200


def test_failed_setups_share_one_pause_and_delay_nobody_else(server: Server) -> None:
    def fail(_: int) -> float:
        assert_refused(server.curl("-F", "newtoken=x", path="/setup?token=wrong"))
        return time.monotonic()

    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        ends = pool.map(fail, range(6))
        time.sleep(0.3)
        assert server.get("/version").status == 200
        assert server.curl("--interface", "127.0.0.2", path=f"/version?token={TOKEN}").status == 200
        assert server.post("/setup", f"newtoken={TOKEN}").status == 200
        assert time.monotonic() - begun < SETUP_PAUSE
        took = [end - begun for end in ends]
    assert min(took) >= SETUP_PAUSE
    assert max(took) < 2 * SETUP_PAUSE


# -- first run


def test_the_first_run(tmp_path: Path) -> None:
    with running(tmp_path / "server", OPEN + "first_run.enabled = true\n", token=None) as server:
        files = [server.admin / "etc" / name for name in ("api.token", "api.token.setup")]
        words = files[0].read_text()
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", words)
        assert files[1].read_text() == words
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
        assert server.wait_for_line("First-run token: ([a-z-]+)")[1] == words

        pending = REFUSED | {"First-Run": True}
        for method, path in ENDPOINTS:
            if (method, path) != ("POST", "/setup"):
                answer = server.curl("-X", method, path=f"{path}?token={words}")
                assert (answer.status, answer.json) == (403, pending), path
        hashed = hash_of("GET", "/version", token=words)
        assert server.curl(path=f"/version?hash={hashed}").json == pending
        assert server.curl("-H", signed("GET", "/version", token=words), path="/version").json == pending
        assert server.curl("-F", "newtoken=x", path="/setup").json == pending
        answer = server.curl("-F", "newtoken=a b", path=f"/setup?token={words}")
        assert (answer.status, answer.json["First-Run"]) == (400, True)
        assert server.curl(path="/nothing").json == {"Status": "404 Not Found"}
        assert server.curl(path="/openapi.json").status == 200
        pages = [f"https://127.0.0.1:{server.port}{path}" for path in ("/", "/docs")]
        for page in pages:
            answer = server.curl(page)
            assert (answer.status, answer.headers["set-cookie"]) == (200, "jidoteki-admin-api-token=; Path=/")

        server.kill()
        server.start()
        assert files[0].read_text() == words
        assert server.curl(path=f"/version?token={words}").json == pending

        assert server.curl("-F", f"newtoken={TOKEN}", path=f"/setup?token={words}").status == 200
        assert not files[1].exists()
        assert server.get("/version").status == 200
        for page in pages:
            answer = server.curl(page)
            assert answer.status == 200 and "set-cookie" not in answer.headers
        assert server.curl(path=f"/version?token={words}").json == REFUSED | {"First-Run": False}
        server.kill()
        server.start()
        assert server.get("/version").status == 200


def test_a_first_run_is_pending_as_long_as_its_file_is_not_empty(server: Server) -> None:
    setup = server.admin / "etc" / "api.token.setup"
    setup.write_text("other-words\n")
    time.sleep(0.1)
    assert_refused(server.get("/version"))
    server.kill()
    server.start()  # what a crash between the new token and the end of the first run leaves
    assert not setup.exists()
    assert server.get("/version").status == 200
    setup.write_text("other-words\n")
    time.sleep(0.1)
    assert_refused(server.get("/version"))
    assert server.curl("-F", f"newtoken={TOKEN}", path=f"/setup?token={TOKEN}").status == 200
    assert not setup.exists()
    setup.write_text("")
    assert server.get("/version").status == 200
    setup.unlink()


# -- switches


def test_tokens_in_the_query_can_be_switched_off(tmp_path: Path) -> None:
    config = "[admin]\nbackoff_after = 3\ntoken_in_query = false\n"
    with running(tmp_path / "server", config) as server:
        assert_refused(server.curl(path=f"/version?token={TOKEN}"))
        assert server.curl(path=f"/version?hash={hash_of('GET', '/version')}").status == 200
        assert server.curl("-H", f"Authorization: Bearer {TOKEN}", path="/version").status == 200
        assert server.curl("-H", signed("GET", "/version"), path="/version").status == 200
        assert server.curl("-F", f"token={TOKEN}", "-F", "action=STOP", path="/backup").status == 202

        # One failure was the one above; three cost nothing, beyond everything from this address is refused unchecked.
        good = f"/version?hash={hash_of('GET', '/version')}"
        for _ in range(2):
            assert_refused(server.curl(path="/version?token=wrong"))
        assert server.curl(path=good).status == 200
        assert_refused(server.curl(path="/version?token=wrong"))
        assert_refused(server.curl(path=good))
        assert server.curl("--interface", "127.0.0.2", path=good).status == 200
        time.sleep(1.1)
        assert server.curl(path=good).status == 200


def test_backing_off_can_be_switched_off(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.curl(path="/version?token=wrong").status, range(40)))
    assert answers == [403] * 40
    assert server.get("/version").status == 200
