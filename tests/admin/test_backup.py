"""Backup and restore: made, fetched, stopped, restored whole; hostile archives change nothing."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Answer, Server, running
from tests.support.surface import post_when_idle
from tests.support.vendor import DEFAULT_SCRIPT, MEMBER_TRAPS, archive, command, files_below, wrapper

ACTION = "Missing or invalid option: action. Expected value 'START' or 'STOP'"
REFUSED = "Invalid backup archive: nothing was restored"
KEPT = {
    "etc/app.json": b'{"name":"kept"}',
    "etc/network.json": b'{"mode":"dhcp","interface":"eth0","hostname":"kept.host"}',
    "etc/storage.json": b'{"storage":{"type":"local"}}',
    "etc/license.asc": b"a licence",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("backup")) as server:
        for name, content in KEPT.items():
            (server.admin / name).write_bytes(content)
        yield server


def begin(server: Server, action: str = "START") -> Answer:
    return post_when_idle(server, "/backup", f"action={action}")


def made(server: Server) -> Any:
    assert begin(server).status == 202
    return server.until("/backup", lambda seen: seen.get("status") not in ("running", None))


def restore(server: Server, file: Path) -> Answer:
    return post_when_idle(server, "/backup/restore", f"archive=@{file}")


def state(server: Server) -> dict[str, bytes]:
    return files_below(server.admin, without=("log/", "tmp/"))


def names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as reader:
        return sorted(reader.getnames())


def test_nothing_there_is_404(server: Server) -> None:
    for path in ("/backup", "/backup/download", "/backup/log"):
        assert (server.get(path).status, server.get(path).json) == (404, {"Status": "404 Not Found"})


def test_start_poll_and_download(server: Server, tmp_path: Path) -> None:
    answer = begin(server, "start")
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/backup"})
    assert answer.headers["location"] == "/api/v1/admin/backup"
    seen = server.until("/backup", lambda seen: seen.get("status") != "running")
    assert list(seen) == ["status", "filesize", "sha256"]
    assert seen["status"] == "success" and re.fullmatch(r"\d+(\.\d)?[KMG]", seen["filesize"])
    download = server.get("/backup/download")
    assert download.headers["content-type"] == "application/octet-stream"
    assert download.headers["filename"] == "backup.tar"
    assert download.headers["content-disposition"] == 'attachment; filename="backup.tar"'
    assert hashlib.sha256(download.body).hexdigest() == seen["sha256"]
    assert names(download.body) == sorted(KEPT)
    log = server.get("/backup/log")
    assert log.headers["content-type"].startswith("text/plain")
    assert re.search(rf"hash: {seen['sha256']}\n\[\d+\]\[SYSTEM\] Backup complete\n", log.body.decode())
    (tmp_path / "backup.tar").write_bytes(download.body)
    listing = command("tar", "-tf", tmp_path / "backup.tar").decode()
    assert "etc/app.json" in listing


def test_stop_deletes(server: Server) -> None:
    assert made(server)["status"] == "success"
    assert begin(server, "Stop").status == 202
    assert server.get("/backup").status == 404
    assert server.get("/backup/download").status == 404
    assert server.get("/backup/log").body.decode().endswith("Deleting backup archive\n")


@pytest.mark.parametrize("fields", [(), ("action=",), ("action=PAUSE",), ("other=START",)])
def test_bad_actions(server: Server, fields: tuple[str, ...]) -> None:
    answer = server.post("/backup", *fields)
    assert (answer.status, answer.json["Error-Message"]) == (400, ACTION)


def test_secrets_are_never_in_it(server: Server) -> None:
    listing = server.admin / "etc" / "backup.txt"
    before = listing.read_text()
    (server.admin / "etc" / "updates.key").write_text("passphrase")
    listing.write_text("etc\nlog\nuploads\n/etc/passwd\n../../server.log\nmissing\n")
    try:
        assert made(server)["status"] == "success"
        found = names(server.get("/backup/download").body)
    finally:
        listing.write_text(before)
        (server.admin / "etc" / "updates.key").unlink()
    assert "etc/app.json" in found
    assert not [name for name in found if re.search(r"token|\.key|passwd|server\.log|uploads", name)]


def test_a_second_start_is_refused_and_stop_ends_the_first(server: Server, tmp_path: Path) -> None:
    script = wrapper(server, f'[ "$1" != START ] || {{ echo $$ >"{tmp_path}/pid"; sleep 300; }}\n' + DEFAULT_SCRIPT)
    try:
        assert begin(server).status == 202
        assert server.get("/backup").json == {"status": "running"}
        refused = server.post("/backup", "action=START")
        assert (refused.status, refused.json["Error-Message"]) == (400, "Backup is already running")
        assert server.post("/backup", "action=STOP").status == 202
        assert server.get("/backup").status == 404
        pid = int((tmp_path / "pid").read_text())
        assert not Path(f"/proc/{pid}").exists()
    finally:
        script.unlink()
    assert made(server)["status"] == "success"


def test_a_failed_one(server: Server) -> None:
    script = wrapper(server, "exit 3\n")
    try:
        assert made(server) == {"status": "failed"}
    finally:
        script.unlink()


def test_restore(server: Server, tmp_path: Path) -> None:
    assert made(server)["status"] == "success"
    (tmp_path / "backup.tar").write_bytes(server.get("/backup/download").body)
    before = {name: (server.admin / name).read_bytes() for name in KEPT}
    (server.admin / "etc" / "app.json").write_text('{"name":"changed"}')
    (server.admin / "etc" / "network.json").unlink()
    assert server.get("/settings").status == 404
    answer = restore(server, tmp_path / "backup.tar")
    assert (answer.status, answer.json) == (200, {"Status": "200 OK"})
    assert {name: (server.admin / name).read_bytes() for name in KEPT} == before
    assert server.get("/settings").json["app"] == {"name": "kept"}
    assert not (server.admin / "uploads" / "backup-archive.tar").exists()
    assert not (server.admin / ".appliance-swap").exists()


@pytest.mark.parametrize("trap", MEMBER_TRAPS)
def test_traps_change_nothing(server: Server, tmp_path: Path, trap: str) -> None:
    evil = MEMBER_TRAPS[trap]
    for members in ([evil], [("etc/app.json", tarfile.REGTYPE, "", b"{}"), evil]):
        (tmp_path / "evil.tar").write_bytes(archive(*members))
        before = state(server)
        answer = restore(server, tmp_path / "evil.tar")
        assert (answer.status, answer.json["Error-Message"]) == (400, REFUSED)
        assert state(server) == before
        assert not Path("/tmp/appliance-trap").exists()


@pytest.mark.parametrize("name", [
    "etc/api.token", "etc/api.token.setup", "etc/updates.pub", "etc/updates.key", "bin/wrapper.sh", "tmp/x",
    "uploads/software_package-zzz.enc", "etc/sub/x.KEY",
])  # fmt: skip
def test_what_decides_who_may_do_what_is_not_restored(server: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / "evil.tar").write_bytes(
        archive(("etc/app.json", tarfile.REGTYPE, "", b"{}"), (name, tarfile.REGTYPE, "", b"owned"))
    )
    before = state(server)
    assert restore(server, tmp_path / "evil.tar").status == 400
    assert state(server) == before


def through_a_link() -> bytes:
    """A member below a link of the same archive."""
    return archive(("etc/d", tarfile.SYMTYPE, "."), ("etc/d/app.json", tarfile.REGTYPE, "", b"{}"))


@pytest.mark.parametrize("content", [
    b"no tar", b"\0" * 100, b"\x1f\x8b\x08\0\0", through_a_link(),
    archive(("etc/app.json", tarfile.REGTYPE, "", b"{}" * 1000))[:700],
    archive(("etc/app.json/deeper", tarfile.REGTYPE, "", b"{}")),
])  # fmt: skip
def test_broken_archives_change_nothing(server: Server, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evil.tar").write_bytes(content)
    before = state(server)
    answer = restore(server, tmp_path / "evil.tar")
    assert (answer.status, answer.json["Error-Message"]) == (400, REFUSED)
    assert state(server) == before
    assert "Failed restoring backup: " in server.get("/backup/log").body.decode().splitlines()[-1]


def test_missing_and_empty_archives(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for fields in ((), (f"archive=@{tmp_path}/empty",), (f"other=@{tmp_path}/empty",), ("archive=text",)):
        assert server.post("/backup/restore", *fields).status == 400


def test_a_second_restore_is_refused_while_one_runs(server: Server, tmp_path: Path) -> None:
    go, here, file = tmp_path / "go", tmp_path / "here", tmp_path / "backup.tar"
    file.write_bytes(archive(("etc/app.json", tarfile.REGTYPE, "", b'{"name":"first"}')))
    hold = f'touch "{here}"; while [ ! -e "{go}" ]; do sleep 0.05; done\n'
    script = wrapper(server, hold + DEFAULT_SCRIPT)
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(restore, server, file)
            server.until("/version", lambda _: here.exists())
            refused = server.post("/backup/restore", f"archive=@{file}")
            assert (refused.status, refused.json["Error-Message"]) == (400, "Restore is already running")
            go.touch()
            assert first.result(60).status == 200
    finally:
        go.touch()
        script.unlink()
    assert (server.admin / "etc" / "app.json").read_text() == '{"name":"first"}'
