"""Resumable uploads: begun, broken off, asked about, taken up again, finished, given up."""

import hashlib
import hmac
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import API, TOKEN, Answer, Server, running

PATH = "/update/upload"
PARTIAL = "Content-Type: application/partial-upload"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("resumable"), "[admin]\nupload_limit_mb = 1\n") as found:
        yield found


def begin(server: Server, body: bytes = b"", complete: str = "?0", *headers: str) -> Answer:
    arguments = ["-X", "POST", "-H", f"Upload-Complete: {complete}", "-H", PARTIAL, "--data-binary", "@-"]
    arguments += [word for header in headers for word in ("-H", header)]
    return server.curl(*arguments, path=f"{PATH}?token={TOKEN}", stdin=body)


def append(
    server: Server, path: str, body: bytes, offset: int | str, complete: str = "?0", kind: str = PARTIAL
) -> Answer:
    headers = ["-H", f"Upload-Complete: {complete}", "-H", f"Upload-Offset: {offset}", "-H", kind]
    return server.curl("-X", "PATCH", *headers, "--data-binary", "@-", path=f"{path}?token={TOKEN}", stdin=body)


def offset_of(server: Server, path: str) -> Answer:
    return server.curl("--head", path=f"{path}?token={TOKEN}")


def until(look: Callable[[], str], wanted: str) -> str:
    """The server learns a moment later that the connection is gone."""
    for _ in range(200):
        if look() == wanted:
            break
        time.sleep(0.05)
    return look()


def location(answer: Answer) -> str:
    assert answer.status == 201, answer
    return answer.headers["location"].removeprefix(API)


def test_pieces_become_one_package(server: Server) -> None:
    content = os.urandom(300_000)
    path = location(begin(server, content[:1000]))
    told = offset_of(server, path)
    assert (told.status, told.headers["upload-offset"], told.headers["upload-complete"]) == (204, "1000", "?0")
    assert told.headers["cache-control"] == "no-store"
    middle = append(server, path, content[1000:200_000], 1000)
    assert (middle.status, middle.headers["upload-offset"]) == (204, "200000")
    last = append(server, path, content[200_000:], 200_000, "?1")
    assert last.status == 202
    assert last.json["sha256"] == hashlib.sha256(content).hexdigest()
    assert last.headers["location"] == f"{API}/update"
    ended = server.until("/update", lambda seen: seen["status"] != "running")
    assert ended["error-code"] == "E1005"  # random bytes are no package, but they arrived as one
    assert offset_of(server, path).status == 404


def test_whole_in_one_request(server: Server) -> None:
    answer = begin(server, b"all of it", "?1")
    assert answer.json["sha256"] == hashlib.sha256(b"all of it").hexdigest()
    server.until("/update", lambda seen: seen["status"] != "running")


def test_a_broken_connection_loses_nothing_that_arrived(server: Server) -> None:
    path = location(begin(server))
    context = ssl.create_default_context(cafile=str(server.certificate))
    # A ticket of TLS 1.3 that is left unread turns the close into a reset, which may overtake the data.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    head = (
        f"PATCH {API}{path}?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n{PARTIAL}\r\nUpload-Complete: ?1\r\n"
        "Upload-Offset: 0\r\nContent-Length: 500000\r\n\r\n"
    )
    with (
        socket.create_connection(("127.0.0.1", server.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(head.encode() + b"x" * 100_000)
        competitor = append(server, path, b"y", 0)
        assert competitor.status == 409
    arrived = until(lambda: offset_of(server, path).headers["upload-offset"], "100000")
    assert arrived == "100000"
    rest = append(server, path, b"z", 100_000)
    assert (rest.status, rest.headers["upload-offset"]) == (204, "100001")
    server.kill()
    server.start()
    assert offset_of(server, path).headers["upload-offset"] == "100001"
    given_up = server.curl("-X", "DELETE", path=f"{path}?token={TOKEN}")
    assert (given_up.status, given_up.body) == (204, b"")
    assert offset_of(server, path).status == 404


def test_refusals_change_nothing(server: Server) -> None:
    path = location(begin(server, b"four"))
    wrong = append(server, path, b"more", 3)
    assert (wrong.status, wrong.headers["upload-offset"], wrong.json["expected-offset"]) == (409, "4", 4)
    for malformed in ("many", "\xb2", "9" * 5000, "-1"):
        assert append(server, path, b"more", malformed).status == 400
    assert append(server, path, b"more", 4, "yes").status == 400
    assert append(server, path, b"more", 4, "?0", "Content-Type: text/plain").status == 415
    assert append(server, path, b"m" * 1_100_000, 4).status == 413
    assert append(server, f"{PATH}/{'0' * 32}", b"more", 0).status == 404
    assert append(server, f"{PATH}/..%2f..%2fetc%2fapi.token", b"more", 0).status == 404
    refused = server.curl("-X", "PATCH", "-H", PARTIAL, "--data-binary", "x", path=f"{path}?token=wrong")
    assert refused.status == 403
    assert offset_of(server, path).headers["upload-offset"] == "4"
    assert begin(server, b"", "?0", f"Upload-Length: {1 << 30}").status == 413
    assert begin(server, b"", "?0", "Upload-Length: 9\xb2").status == 400
    assert begin(server, b"", "?1").status == 400
    assert server.curl("-X", "DELETE", path=f"{path}?token={TOKEN}").status == 204


def signed(server: Server, method: str, path: str, body: bytes, *headers: str) -> Answer:
    """Send `body` under a signature made for another one."""
    timestamp, nonce, digest = str(int(time.time())), secrets.token_hex(16), hashlib.sha256(b"another").hexdigest()
    message = "\n".join(["HMAC-SHA256", method, API + path, "", timestamp, nonce, digest])
    key = hashlib.sha256(TOKEN.encode()).hexdigest()
    signature = hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
    credentials = f"HMAC-SHA256 timestamp={timestamp}, nonce={nonce}, digest={digest}, signature={signature}"
    arguments = [word for header in (f"Authorization: {credentials}", PARTIAL, *headers) for word in ("-H", header)]
    return server.curl("-X", method, *arguments, "--data-binary", "@-", path=path, stdin=body)


def test_a_body_that_was_not_signed_is_taken_back(server: Server) -> None:
    path = location(begin(server, b"four"))
    before = set((server.admin / "uploads").iterdir())
    for complete in ("?0", "?1"):
        refused = signed(server, "PATCH", path, b"x" * 700_000, f"Upload-Complete: {complete}", "Upload-Offset: 4")
        assert refused.status == 403
        assert offset_of(server, path).headers["upload-offset"] == "4"
        assert signed(server, "POST", PATH, b"begun", f"Upload-Complete: {complete}").status == 403
    assert set((server.admin / "uploads").iterdir()) == before
    good = signed(server, "PATCH", path, b"another", "Upload-Complete: ?0", "Upload-Offset: 4")
    assert (good.status, good.headers["upload-offset"]) == (204, "11")
    assert server.curl("-X", "DELETE", path=f"{path}?token={TOKEN}").status == 204


def test_a_refused_beginning_leaves_nothing(server: Server) -> None:
    before = set((server.admin / "uploads").iterdir())
    url = f"{PATH}?token={TOKEN}"
    for arguments in (["-H", "Content-Type: text/plain"], ["-H", PARTIAL, "-H", "Transfer-Encoding: chunked"]):
        body = ["-H", "Upload-Complete: ?0", *arguments, "--data-binary", "@-"]
        answer = server.curl("-X", "POST", *body, path=url, stdin=b"x" * 1_100_000)
        assert answer.status in (413, 415)
    assert begin(server, b"", "?1").status == 400
    assert set((server.admin / "uploads").iterdir()) == before


def test_only_so_many_at_once_and_old_ones_go(server: Server) -> None:
    folder = server.admin / "uploads"
    for left in folder.glob(".resumable-*"):
        left.unlink()
    paths = [location(begin(server)) for _ in range(8)]
    assert begin(server).status == 400
    old = folder / f".resumable-{paths[0].rpartition('/')[2]}"
    os.utime(old, (1, 1))
    assert begin(server).status == 201
    assert not old.exists()
    assert len(list(Path(folder).glob(".resumable-*"))) == 8
