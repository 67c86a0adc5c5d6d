"""Files over real HTTPS: names, links, parts, limits."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rpc import RpcServer, rpc_server

INVALID = {"code": 400, "data": None, "message": "invalid filename"}
MISSING = {"code": 404, "data": None, "message": "file not found"}
CONTENT = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("files"), "upload_limit_mb = 1\n") as server:
        (downloads(server) / "report.tar").write_bytes(CONTENT)
        server.log_in("nobody")
        yield server


def downloads(server: RpcServer) -> Path:
    return server.server.state / "rpc" / "downloads"


def uploads(server: RpcServer) -> Path:
    return server.server.state / "rpc" / "uploads"


def test_a_download(server: RpcServer) -> None:
    answer = server.api("GET", "/files/report.tar", token=server.tokens["nobody"])
    assert answer.status == 200
    assert answer.body == CONTENT
    assert answer.headers["content-disposition"] == 'attachment; filename="report.tar"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["accept-ranges"] == "bytes"


def test_files_are_not_compressed(server: RpcServer) -> None:
    answer = server.api("GET", "/files/report.tar", None, "Accept-Encoding: gzip", token=server.tokens["root"])
    assert "content-encoding" not in answer.headers and answer.body == CONTENT


@pytest.mark.parametrize(
    ("asked", "first", "length"),
    [
        ("0-9", 0, 10),
        ("1000-", 1000, len(CONTENT) - 1000),
        ("-5", len(CONTENT) - 5, 5),
        ("5-99999999", 5, len(CONTENT) - 5),
    ],
)
def test_a_part(server: RpcServer, asked: str, first: int, length: int) -> None:
    answer = server.api("GET", "/files/report.tar", None, f"Range: bytes={asked}", token=server.tokens["root"])
    assert answer.status == 206
    assert answer.body == CONTENT[first : first + length]
    assert answer.headers["content-range"] == f"bytes {first}-{first + length - 1}/{len(CONTENT)}"


def test_a_part_that_is_not_there(server: RpcServer) -> None:
    asked = f"Range: bytes={len(CONTENT)}-"
    answer = server.api("GET", "/files/report.tar", None, asked, token=server.tokens["root"])
    assert answer.status == answer.json["code"] == 416
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_a_name_that_needs_quoting(server: RpcServer) -> None:
    (downloads(server) / 'a "b" ü.txt').write_text("x")
    answer = server.api("GET", "/files/a%20%22b%22%20%C3%BC.txt", token=server.tokens["root"])
    assert answer.status == 200
    disposition = answer.headers["content-disposition"]
    assert disposition == 'attachment; filename="a \\"b\\" _.txt"; filename*=UTF-8\'\'a%20%22b%22%20%C3%BC.txt'


@pytest.mark.parametrize(
    "name", ["..%2fappliance.db", "%2e%2e%2f%2e%2e%2fappliance.db", "a/b", ".hidden", "..", "a%5cb", "%2fetc%2fpasswd"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_names_that_lead_elsewhere(server: RpcServer, method: str, name: str) -> None:
    (downloads(server) / ".hidden").write_text("x")
    path = f"/api/files/{name}"
    bearer = f"Authorization: Bearer {server.tokens['root']}"
    answer = server.curl("--path-as-is", "-X", method, "-H", bearer, path=path)
    assert (answer.status, answer.json) == (400, INVALID)
    assert (downloads(server) / ".hidden").exists()


def test_a_name_with_a_control_character(server: RpcServer) -> None:
    assert server.api("GET", "/files/a%0ab", token=server.tokens["root"]).status == 400
    assert server.api("GET", f"/files/{'x' * 300}", token=server.tokens["root"]).json == INVALID


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_no_file_of_ours(server: RpcServer, method: str) -> None:
    folder = downloads(server)
    (folder / "folder").mkdir(exist_ok=True)
    for name, target in (("link", "/etc/passwd"), ("inside", folder / "report.tar"), ("dangling", "nowhere")):
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(target)
    if not (folder / "pipe").exists():
        os.mkfifo(folder / "pipe")
    for name in ("nothing", "folder", "link", "inside", "dangling", "pipe"):
        answer = server.api(method, f"/files/{name}", token=server.tokens["root"])
        assert (answer.status, answer.json) == (404, MISSING), name
    assert (folder / "folder").is_dir() and (folder / "link").is_symlink()


def test_deleting(server: RpcServer) -> None:
    (downloads(server) / "old").write_text("x")
    answer = server.api("DELETE", "/files/old", token=server.tokens["nobody"])
    assert (answer.status, answer.json) == (200, {"code": 200, "data": None, "message": "file remove success"})
    assert not (downloads(server) / "old").exists()
    assert server.api("DELETE", "/files/old", token=server.tokens["nobody"]).json == MISSING
    assert [row["object"] for row in server.audit() if row["action"] == "files.delete"][-2:] == ["/api/files/old"] * 2


def upload(server: RpcServer, *fields: str) -> tuple[int, dict[str, object]]:
    arguments = [argument for field in fields for argument in ("-F", field)]
    answer = server.curl("-H", f"Authorization: Bearer {server.tokens['nobody']}", *arguments, path="/api/files")
    return answer.status, answer.json


def test_an_upload(server: RpcServer, tmp_path: Path) -> None:
    (tmp_path / "parcel").write_bytes(CONTENT)
    status, answer = upload(server, f"file=@{tmp_path}/parcel;filename=../../etc/passwd")
    assert status == 200
    name = str(answer["data"])
    assert answer == {"code": 200, "data": name, "message": "file upload success"}
    assert re.fullmatch(r"upload-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)
    assert (uploads(server) / name).read_bytes() == CONTENT
    assert (uploads(server) / name).stat().st_mode & 0o777 == 0o600
    assert server.api("GET", f"/files/{name}", token=server.tokens["root"]).json == MISSING  # another folder
    assert [row["object"] for row in server.audit() if row["action"] == "files.upload"][-1] == name


def test_what_is_no_upload(server: RpcServer, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1024 * 1024 + 1))
    before = set(uploads(server).iterdir())
    assert upload(server, f"file=@{tmp_path}/large")[0] == 413
    assert upload(server, "other=x") == (400, {"code": 400, "data": None, "message": "Missing field: file"})
    assert upload(server, "file=text")[0] == 400
    assert upload(server, "file=@-;filename=x", "file=@-;filename=y")[0] == 400
    assert server.api("POST", "/files", {}, token=server.tokens["root"]).status == 400
    assert set(uploads(server).iterdir()) == before
