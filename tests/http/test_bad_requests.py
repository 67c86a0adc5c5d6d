"""What a hostile or broken client sends, over TLS to a real server: one whole refusal each, and nothing changed."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.bad_requests import (
    AUTH,
    FILE,
    GOOD_SETTINGS,
    MIB,
    TABLE,
    chunked,
    chunks,
    form,
    get,
    head,
    json_post,
    part,
    post,
    url_post,
)
from tests.support.server import API, TOKEN, Server, hash_of, running
from tests.support.snapshot import assert_unchanged, snapshot
from tests.support.wire import Wire, assert_error_form, take_response

SETTINGS = """
[server]
header_timeout = 2
body_rate_floor = 500
[admin]
backoff_after = 0
upload_limit_mb = 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("bad"), SETTINGS) as server:
        yield server


def test_the_table_is_as_long_as_promised() -> None:
    assert len(TABLE) >= 60 and len({name for name, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("status", "data"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_is_refused_once_and_changes_nothing(server: Server, status: int, data: bytes) -> None:
    before = snapshot(server.admin)
    method = "HEAD" if data.startswith(b"HEAD") else "GET"
    with Wire(server.port) as wire:
        wire.send(data)
        response = wire.response(method)
        assert_error_form(response, status)
        if response.closes:
            wire.assert_ended()
        else:
            # A second answer to the first request would stand here in place of the second's.
            wire.send(get("/version", "Connection: close"))
            answer = wire.response()
            assert (answer.status, answer.json) == (200, {"version": "1.0.0"})
            wire.assert_ended()
    assert_unchanged(server.admin, before)
    assert server.get("/version").status == 200


def test_the_log_shows_no_failure(server: Server) -> None:
    text = server.log.read_text()
    assert "Traceback" not in text and '"level":"error"' not in text and '"level":"critical"' not in text
    assert TOKEN not in text and "token=" not in text


# -- what looks odd and is right


def body_of(server: Server, data: bytes, status: int = 200) -> object:
    with Wire(server.port) as wire:
        wire.send(data)
        response = wire.response()
        assert response.status == status, response
        return response.json


@pytest.mark.parametrize(
    "data",
    [
        chunked("/setup", chunks(b"newto", b"ken=" + TOKEN.encode()), "application/x-www-form-urlencoded"),
        chunked(
            "/setup",
            b"1;ext=1\r\nn\r\n%x\r\newtoken=%b\r\n0\r\nTrailer: x\r\n\r\n" % (8 + len(TOKEN), TOKEN.encode()),
            "",
        ),
        chunked(
            "/setup",
            chunks(*[bytes([byte]) for byte in part('name="newtoken"', TOKEN.encode()) + b"--b--\r\n"]),
            "multipart/form-data; boundary=b",
        ),
        url_post("/setup", b"newtoken=" + TOKEN.encode()),
        post("/setup", f"token={TOKEN}&newtoken={TOKEN}".encode(), "application/x-www-form-urlencoded", auth=""),
        form("/setup", part('name="newtoken"', TOKEN.encode())),
        form("/setup", part('name="newtoken"', TOKEN.encode()), boundary='; charset=utf-8; boundary="b"'),
        form("/setup", part('name="newtoken"', TOKEN.encode()), end=b"--b--"),
        form("/setup", part('name="token"', TOKEN.encode()), part('name="newtoken"', TOKEN.encode()), auth=""),
    ],
    ids=[
        "chunked",
        "chunk extension and trailer",
        "chunks of a byte",
        "urlencoded",
        "credentials urlencoded",
        "form",
        "quoted boundary",
        "no last line end",
        "credentials in the form",
    ],
)
def test_a_token_is_set_in_every_form(server: Server, data: bytes) -> None:
    assert body_of(server, data) == {"Status": "200 OK"}


@pytest.mark.parametrize(
    "data",
    [
        head("GET", f"https://other.example:1{API}/version{AUTH}"),
        head("GET", f"HTTP://box.example{API}/version{AUTH}"),
        b"\r\n" + get(),
        f"GET {API}/version{AUTH} HTTP/1.0\r\n\r\n".encode(),
        f"GET {API}/version{AUTH} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode(),
        get("/version", "Connection: TE,close"),
        get("/version", "Content-Length: 3") + b"abc",
        get("/version", "Content-Length: 0", "Expect: 100-continue"),
        get("/version", "Transfer-Encoding: chunked") + chunks(b"abc", b"def"),
        get("/version", host="[::1]:8443"),
        get("/version", host="BOX.example.:8443"),
        get("/version", "X: a\r\n continued"),
        head("GET", f"{API}/version?hash={hash_of('GET', '/version')}&token=wrong"),
        head("GET", f"{API}/%76ersion{AUTH}"),
    ],
)
def test_unusual_requests_are_served(server: Server, data: bytes) -> None:
    assert body_of(server, data) == {"version": "1.0.0"}


def test_http_1_0_and_close_end_the_connection(server: Server) -> None:
    for data in (
        f"GET {API}/version{AUTH} HTTP/1.0\r\n\r\n".encode(),
        get("/version", "Connection: close"),
        get("/version", "Connection: TE, close"),
        get("/version", "Connection: TE", "Connection: close"),
    ):
        with Wire(server.port) as wire:
            wire.send(data + get())
            assert wire.response().closes
            wire.assert_ended()


def test_json_settings_are_accepted(server: Server) -> None:
    assert body_of(server, json_post("/settings", GOOD_SETTINGS), 202) == {
        "Status": "202 Accepted",
        "Location": f"{API}/settings",
    }
    server.until("/settings", lambda seen: seen.get("network", {}).get("hostname") == "box")


def test_100_continue_comes_after_good_credentials_only(server: Server) -> None:
    body = b"newtoken=" + TOKEN.encode()
    lines = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", "Expect: 100-Continue")
    with Wire(server.port) as wire:
        wire.send(head("POST", f"{API}/setup{AUTH}", *lines))
        assert wire.response().status == 100
        wire.assert_silent(0.2)
        wire.send(body)
        assert wire.response().status == 200
        wire.send(get())
        assert wire.response().json == {"version": "1.0.0"}


def test_credentials_may_follow_100_continue_in_the_form(server: Server) -> None:
    data = form("/setup", part('name="token"', TOKEN.encode()), part('name="newtoken"', TOKEN.encode()), auth="")
    request_head, _, body = data.partition(b"\r\n\r\n")
    with Wire(server.port) as wire:
        wire.send(request_head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert wire.response().status == 100
        wire.send(body)
        assert wire.response().status == 200


# -- several requests on one connection


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    wanted = ["/version", "/health", "/nothing", "/endpoints", "/version"]
    with Wire(server.port) as wire:
        wire.send(b"".join(get(path) for path in wanted))
        answers = [wire.response() for _ in wanted]
        assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
        assert "version" in answers[0].json and "disk" in answers[1].json and "endpoints" in answers[3].json
        wire.assert_silent(0.2)


@pytest.mark.parametrize(
    ("status", "bad"),
    [
        (400, b"GARBAGE\r\n\r\n"),
        (400, get(host="a..b")),
        (400, get("/version", "X: a\0b")),
        (431, get("/version", "X: " + "x" * 20_000)),
        (403, post("/settings", GOOD_SETTINGS, "application/json", auth="?token=wrong")),
        (413, json_post("/settings", b" " * (MIB + 1))),
        (400, form("/update", part('name="x"; filename="p"'))),
    ],
)
def test_after_a_bad_request_in_a_pipeline(server: Server, status: int, bad: bytes) -> None:
    """One answer each; where the bad one ends the connection, what follows it is not served."""
    before = snapshot(server.admin)
    with Wire(server.port) as wire:
        wire.send(get() + get("/health") + bad + get())
        assert [wire.response().status for _ in range(2)] == [200, 200]
        refusal = wire.response()
        assert_error_form(refusal, status)
        if not refusal.closes:
            assert wire.response().json == {"version": "1.0.0"}
            wire.send(get("/version", "Connection: close"))
            assert wire.response().status == 200
        wire.assert_ended()
    assert_unchanged(server.admin, before)


def test_many_pipelined_requests(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(get() * 2000)
        for _ in range(2000):
            assert wire.response().json == {"version": "1.0.0"}


def test_a_request_in_single_bytes(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(b"", (bytes([byte]) for byte in get()))
        assert wire.response().json == {"version": "1.0.0"}


# -- what is no HTTPS at all


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: box\r\n\r\n", b"\0" * 2000, b"\x16\x03\x01\x02\x00" + b"\xff" * 600, b"SSH-2.0-x\r\n"],
)
def test_garbage_instead_of_tls(server: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        plain.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(4096):
                pass
    assert server.get("/version").status == 200


# -- slow ones


def slow(server: Server, data: bytes, sent: int, seconds: float) -> list[bytes]:
    """Send `data` on `sent` connections, a byte a second on each, and return what came back by its end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connections = [context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), 20)) for _ in range(sent)]
    answers: list[bytes] = []
    try:
        for byte in data[: int(seconds)]:
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(bytes([byte]))
            time.sleep(1)
            assert server.get("/version").status == 200
        for connection in connections:
            connection.settimeout(20)
            answers.append(read_all(connection))
    finally:
        for connection in connections:
            connection.close()
    return answers


def read_all(connection: ssl.SSLSocket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while piece := connection.recv(65536):
            found += piece
    return found


def assert_408(answers: list[bytes]) -> None:
    for answer in answers:
        response, rest = take_response(answer)
        assert_error_form(response, 408)
        assert response.closes and rest == b""


@pytest.mark.slow
def test_300_connections_that_send_a_byte_a_second(server: Server) -> None:
    assert_408(slow(server, get(), 300, 4))


@pytest.mark.slow
def test_heads_and_bodies_that_come_too_slowly(server: Server) -> None:
    """The body of a good request, of a form without credentials, and of a chunked one."""
    starts: list[Callable[[], bytes]] = [
        lambda: post("/settings", GOOD_SETTINGS + b" " * 1000, "application/json"),
        lambda: form("/update", part('name="x"', b"y" * 5000), auth=""),
        lambda: chunked("/update", b"fff\r\n" + FILE, "multipart/form-data; boundary=b"),
    ]
    before = snapshot(server.admin)

    def trickle(data: bytes) -> None:
        begin = data.index(b"\r\n\r\n") + 4

        def bytes_in_time() -> Iterator[bytes]:
            for byte in data[begin:]:
                time.sleep(1)
                yield bytes([byte])

        with Wire(server.port) as wire:
            wire.send(data[:begin], bytes_in_time())
            assert_error_form(wire.response(), 408)
            wire.assert_ended()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(trickle, start()) for start in starts]:
            done.result()
    assert_unchanged(server.admin, before)


def test_a_client_that_goes_in_the_middle_leaves_nothing(server: Server) -> None:
    before = snapshot(server.admin)
    for data in (
        get()[:20],
        json_post("/settings", GOOD_SETTINGS)[:-5],
        form("/update", part('name="update"; filename="p"', b"x" * 600_000))[:-300_000],
        form("/update", part('name="token"', TOKEN.encode()), FILE, auth="")[:-500],
        chunked("/settings", b"5\r\nabc", "application/json"),
    ):
        for _ in range(5):
            with Wire(server.port) as wire:
                wire.flood([data])
    assert_unchanged(server.admin, before)
    assert server.get("/version").status == 200


def test_in_the_end_the_log_shows_no_failure(server: Server) -> None:
    test_the_log_shows_no_failure(server)
