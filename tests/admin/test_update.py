"""Updates end to end: packages of the command line and of openssl, uploaded with curl, each error code."""

import hashlib
import json
import secrets
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import TOKEN, Answer, Server, running
from tests.support.surface import post_when_idle
from tests.support.vendor import (
    DEFAULT_SCRIPT,
    MEMBER_TRAPS,
    archive,
    build,
    cli,
    encrypt,
    files_below,
    make_keys,
    seal,
    wrapper,
)

UPDATE = """#!/bin/sh
echo "update.sh runs with $(head -c 8 data.txt)"
cp version.txt "$APPLIANCE_ADMIN/etc/version.txt"
"""
DECRYPTING = "Error decrypting software update package"
VERIFYING = "Error verifying software update package signature"
EXTRACTING = "Error extracting software update package"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("update")) as server:
        make_keys(server.folder / "keys", server)
        yield server


@pytest.fixture(autouse=True)
def installed(server: Server) -> Iterator[None]:
    (server.admin / "etc" / "version.txt").write_text("1.0.0\n")
    yield
    (server.admin / "bin" / "wrapper.sh").unlink(missing_ok=True)


def package(server: Server, folder: Path, update: str = UPDATE, version: str = "1.0.1", data: bytes = b"data") -> Path:
    keys = server.folder / "keys"
    return build(keys, folder / f"software_package-{version}.enc", {"update.sh": update, "data.txt": data}, version)


def upload(server: Server, file: Path, *arguments: str) -> Answer:
    answer = post_when_idle(server, "/update", f"update=@{file}", *arguments)
    if answer.status == 202:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        location = "/api/v1/admin/update"
        assert answer.json == {"Status": "202 Accepted", "Location": location, "sha256": sha256}
        assert answer.headers["location"] == location
    return answer


def settled(server: Server) -> Any:
    return server.until("/update", lambda seen: seen["status"] != "running")


def version(server: Server) -> str:
    return (server.admin / "etc" / "version.txt").read_text().strip()


def last_line(server: Server) -> str:
    return server.get("/update/log").body.decode().splitlines()[-1]


def assert_failed(server: Server, percentage: int, code: str, message: str, before: str = "1.0.0") -> None:
    seen = settled(server)
    log = seen.pop("log")
    assert seen == {"status": "failed", "percentage": percentage, "error-message": message, "error-code": code}
    assert log.split("\\n")[-1].endswith(f"[SYSTEM] Failed updating: {message}")
    assert last_line(server).endswith(f"[SYSTEM] Failed updating: {message}")
    assert version(server) == before
    assert list((server.admin / "uploads").iterdir()) == []
    assert not (server.admin / "tmp" / "update").exists()


def assert_succeeded(server: Server, installed: str = "1.0.1") -> Any:
    seen = settled(server)
    assert list(seen) == ["status", "percentage", "log"]
    assert (seen["status"], seen["percentage"]) == ("success", 100)
    assert seen["log"].endswith("[SYSTEM] Updating system successful")
    assert version(server) == installed
    return seen


def test_nothing_yet(server: Server) -> None:
    assert server.get("/update").body == b'{"status":null,"log":null}'
    assert server.get("/update/log").status == 404


def test_a_real_update(server: Server, tmp_path: Path) -> None:
    file = package(server, tmp_path, data=b"payload-" + secrets.token_hex(3_000_000).encode())
    assert b"version    1.0.1\nsignature  valid\n" in cli("package", "inspect", file, "--keys", server.folder / "keys")
    assert server.get("/version").json == {"version": "1.0.0"}
    assert upload(server, file).status == 202
    seen = assert_succeeded(server)
    assert len(seen["log"].split("\\n")) <= 10
    assert server.get("/version").json == {"version": "1.0.1"}
    log = server.get("/update/log")
    assert log.headers["content-type"].startswith("text/plain")
    assert "update.sh runs with payload-\n" in log.body.decode()
    assert last_line(server).endswith("[SYSTEM] Updating system successful")
    assert list((server.admin / "uploads").iterdir()) == []


def test_a_chunked_upload(server: Server, tmp_path: Path) -> None:
    file = package(server, tmp_path, data=secrets.token_hex(500_000).encode())
    arguments = ("-H", "Transfer-Encoding: chunked", "-F", f"update=@{file}")
    assert server.curl(*arguments, path=f"/update?token={TOKEN}").status == 202
    assert_succeeded(server)


def slow(server: Server, folder: Path) -> None:
    """A wrapper under which each line of the log takes a while, so that each step can be seen from outside."""
    (folder / "date").write_text('#!/bin/sh\nsleep 0.15\nexec /bin/date "$@"\n')
    (folder / "date").chmod(0o755)
    wrapper(server, f'PATH="{folder}:$PATH"\n' + DEFAULT_SCRIPT)


def test_the_percentage_rises_step_by_step(server: Server, tmp_path: Path) -> None:
    slow(server, tmp_path)
    assert upload(server, package(server, tmp_path)).status == 202
    seen: list[int] = []

    def done(status: Any) -> bool:
        seen.append(status["percentage"])
        assert "error-code" not in status
        return bool(status["status"] != "running")

    server.until("/update", done)
    assert seen == sorted(seen)
    assert {10, 20, 30, 40, 50, 60, 70, 100} <= set(seen)
    assert_succeeded(server)


@pytest.mark.slow
def test_a_package_of_200_mb(server: Server, tmp_path: Path) -> None:
    text = UPDATE + '[ "$(wc -c <data.bin)" = 200000000 ]\n'
    files: dict[str, str | bytes] = {"update.sh": text, "data.txt": "large", "data.bin": bytes(200_000_000)}
    file = build(server.folder / "keys", tmp_path / "large.enc", files, level=0)
    assert file.stat().st_size > 200_000_000
    answer = upload(server, file)
    assert answer.status == 202
    seen: list[int] = []

    def done(status: Any) -> bool:
        seen.append(status["percentage"])
        return bool(status["status"] != "running")

    server.until("/update", done)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert_succeeded(server)


def test_without_update_sh_it_ends_at_90(server: Server, tmp_path: Path) -> None:
    file = build(server.folder / "keys", tmp_path / "plain.enc", {"data.txt": "x"}, "1.0.1")
    assert upload(server, file).status == 202
    seen = settled(server)
    assert (seen["status"], seen["percentage"]) == ("success", 90)
    assert version(server) == "1.0.0"


@pytest.mark.parametrize(("offered", "message"), [
    ("0.9.9", "Software update package is too old"),
    ("1.0.0", "System is already up-to-date"),
])  # fmt: skip
def test_e1001(server: Server, tmp_path: Path, offered: str, message: str) -> None:
    assert upload(server, package(server, tmp_path, version=offered)).status == 202
    assert_failed(server, 60, "E1001", message)


def test_e1002_and_no_trace_of_it_after_a_success(server: Server, tmp_path: Path) -> None:
    assert upload(server, package(server, tmp_path, "#!/bin/sh\necho broken\nexit 7\n")).status == 202
    assert_failed(server, 80, "E1002", "Error running update")
    assert "broken\n" in server.get("/update/log").body.decode()
    assert list(server.get("/update").json) == ["status", "percentage", "log", "error-message", "error-code"]
    assert upload(server, package(server, tmp_path, version="1.0.2")).status == 202
    assert_succeeded(server, "1.0.2")
    assert not list((server.admin / "etc").glob("status_error_*"))


def test_error_files_of_update_sh_count(server: Server, tmp_path: Path) -> None:
    text = "#!/bin/sh\ncd $APPLIANCE_ADMIN/etc\necho E2042 >status_error_code.txt\n"
    text += "echo No room >status_error_message.txt\n"
    assert upload(server, package(server, tmp_path, text + "exit 1\n")).status == 202
    assert_failed(server, 80, "E2042", "No room")


def test_e1003_when_the_package_is_gone(server: Server, tmp_path: Path) -> None:
    wrapper(server, 'rm -f "$APPLIANCE_UPLOADS"/software_package-*\n' + DEFAULT_SCRIPT)
    assert upload(server, package(server, tmp_path)).status == 202
    assert_failed(server, 20, "E1003", "Missing update package")


def test_e1000_when_a_step_fails_that_nobody_foresaw(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sed").write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "sed").chmod(0o755)
    wrapper(server, f'PATH="{tmp_path}:$PATH"\n' + DEFAULT_SCRIPT)
    assert upload(server, package(server, tmp_path)).status == 202
    assert_failed(server, 60, "E1000", "Script error")


@pytest.mark.parametrize("text", ["exit 3\n", "kill -9 $$\n", "/nonexistent\n"])
def test_e1000_when_the_script_says_nothing(server: Server, tmp_path: Path, text: str) -> None:
    wrapper(server, text)
    assert upload(server, package(server, tmp_path)).status == 202
    seen = settled(server)
    assert (seen["status"], seen["error-code"], seen["error-message"]) == ("failed", "E1000", "Script error")
    assert last_line(server).endswith("[SYSTEM] Failed updating: Script error")


def test_e1005_for_another_key(server: Server, tmp_path: Path) -> None:
    cli("package", "keys", tmp_path / "other")
    file = build(tmp_path / "other", tmp_path / "other.enc", {"update.sh": UPDATE})
    assert upload(server, file).status == 202
    assert_failed(server, 30, "E1005", DECRYPTING)


@pytest.mark.parametrize("content", [b"x", b"Salted__12345678", secrets.token_bytes(300_000)])
def test_e1005_for_garbage(server: Server, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "garbage.enc").write_bytes(content)
    assert upload(server, tmp_path / "garbage.enc").status == 202
    assert_failed(server, 30, "E1005", DECRYPTING)


def test_e1005_for_another_signer(server: Server, tmp_path: Path) -> None:
    cli("package", "keys", tmp_path / "other")
    (tmp_path / "other" / "updates.key").write_bytes((server.folder / "keys" / "updates.key").read_bytes())
    file = build(tmp_path / "other", tmp_path / "other.enc", {"update.sh": UPDATE})
    assert upload(server, file).status == 202
    assert_failed(server, 40, "E1005", VERIFYING)


def test_e1005_for_a_package_changed_after_signing(server: Server, tmp_path: Path) -> None:
    keys = server.folder / "keys"
    seal(keys, tmp_path / "sealed", archive(("version.txt", tarfile.REGTYPE, "", b"1.0.1\n"), compress=True))
    evil = archive(("version.txt", tarfile.REGTYPE, "", b"6.6.6\n"), compress=True)
    sign = (tmp_path / "sealed" / "software_package.tar.gz.sign").read_bytes()
    outer = archive(
        ("software_package.tar.gz", tarfile.REGTYPE, "", evil),
        ("software_package.tar.gz.sign", tarfile.REGTYPE, "", sign),
    )
    (tmp_path / "outer.tar").write_bytes(outer)
    encrypt(keys / "updates.key", tmp_path / "outer.tar", tmp_path / "changed.enc")
    assert upload(server, tmp_path / "changed.enc").status == 202
    assert_failed(server, 40, "E1005", VERIFYING)


def test_e1005_without_a_signature(server: Server, tmp_path: Path) -> None:
    file = seal(server.folder / "keys", tmp_path / "sealed", b"inner", sign=False)
    assert upload(server, file).status == 202
    assert_failed(server, 30, "E1005", DECRYPTING)


@pytest.mark.parametrize("name", ["updates.key", "updates.pub"])
def test_e1005_without_keys(server: Server, tmp_path: Path, name: str) -> None:
    file, key = package(server, tmp_path), server.admin / "etc" / name
    content = key.read_bytes()
    key.unlink()
    try:
        assert upload(server, file).status == 202
        percentage, message = {"updates.key": (30, DECRYPTING), "updates.pub": (40, VERIFYING)}[name]
        assert_failed(server, percentage, "E1005", message)
    finally:
        key.write_bytes(content)


def test_e1005_for_an_inner_archive_that_is_none(server: Server, tmp_path: Path) -> None:
    assert upload(server, seal(server.folder / "keys", tmp_path / "sealed", b"no archive")).status == 202
    assert_failed(server, 50, "E1005", EXTRACTING)


@pytest.mark.parametrize("trap", MEMBER_TRAPS)
def test_e1005_for_traps_in_a_signed_package(server: Server, tmp_path: Path, trap: str) -> None:
    good = ("version.txt", tarfile.REGTYPE, "", b"1.0.1\n")
    inner = archive(good, ("update.sh", tarfile.REGTYPE, "", UPDATE.encode()), MEMBER_TRAPS[trap], compress=True)
    before = files_below(server.admin, without=("log/", "tmp/", "etc/status_"))
    assert upload(server, seal(server.folder / "keys", tmp_path / "sealed", inner)).status == 202
    assert_failed(server, 50, "E1005", EXTRACTING)
    assert files_below(server.admin, without=("log/", "tmp/", "etc/status_")) == before
    assert not Path("/tmp/appliance-trap").exists()


def test_e1005_for_a_gzip_bomb(server: Server, tmp_path: Path) -> None:
    wrapper(server, "APPLIANCE_UNPACK_LIMIT=4000000; export APPLIANCE_UNPACK_LIMIT\n" + DEFAULT_SCRIPT)
    good = ("version.txt", tarfile.REGTYPE, "", b"1.0.1\n")
    inner = archive(good, ("zeros", tarfile.REGTYPE, "", bytes(64 << 20)), compress=True)
    assert len(inner) < 200_000
    assert upload(server, seal(server.folder / "keys", tmp_path / "sealed", inner)).status == 202
    assert_failed(server, 50, "E1005", EXTRACTING)
    assert "unpacks to more than 4000000 bytes" in server.get("/update/log").body.decode()


WAITING = 'touch "{here}"; while [ ! -e "{go}" ]; do sleep 0.05; done\n'


def test_e1004_for_a_second_upload_and_a_half_written_status(server: Server, tmp_path: Path) -> None:
    here, go = tmp_path / "here", tmp_path / "go"
    text = "#!/bin/sh\n" + WAITING.format(here=here, go=go) + UPDATE
    first, second = package(server, tmp_path, text), package(server, tmp_path, version="9.9.9")
    try:
        assert upload(server, first).status == 202
        server.until("/update", lambda _: here.exists())
        assert server.get("/update").json["percentage"] == 70
        refused = server.post("/update", f"update=@{second}")
        assert (refused.status, refused.json) == (
            400,
            {"Status": "400 Bad Request", "Error-Message": "Update is already running", "error-code": "E1004"},
        )
        seen = server.get("/update").json
        assert list(seen) == ["status", "percentage", "log"]
        assert (seen["status"], seen["percentage"]) == ("running", 70)
        assert seen["log"].split("\\n")[-1].endswith("[SYSTEM] Update is already running")

        status = server.admin / "etc" / "status_update.json"
        whole = status.read_bytes()
        for half in (b"", b'{"status":"run', b'{"status":"running","percentage":', b"\xff"):
            status.write_bytes(half)
            seen = server.get("/update").json
            assert (seen["status"], seen["percentage"]) == ("running", 70)
        status.write_bytes(whole)
        assert [path.name for path in (server.admin / "uploads").iterdir()] == ["software_package-zzz.enc"]
    finally:
        go.touch()
    assert_succeeded(server)


def test_of_two_uploads_at_once_one_is_refused(server: Server, tmp_path: Path) -> None:
    here, go = tmp_path / "here", tmp_path / "go"
    text = "#!/bin/sh\n" + WAITING.format(here=here, go=go) + UPDATE
    file = package(server, tmp_path, text, data=secrets.token_hex(1_000_000).encode())
    settled(server)
    try:
        with ThreadPoolExecutor(4) as pool:
            arguments = ("--limit-rate", "4M", "-F", f"update=@{file}")
            path = f"/update?token={TOKEN}"
            answers = list(pool.map(lambda _: server.curl(*arguments, path=path), range(4)))
        assert sorted(answer.status for answer in answers) == [202, 400, 400, 400]
        for answer in answers:
            if answer.status == 400:
                assert answer.json["error-code"] == "E1004"
        server.until("/update", lambda _: here.exists())
        assert list((server.admin / "uploads").glob(".upload-*")) == []
    finally:
        go.touch()
    assert_succeeded(server)


def test_missing_and_empty_packages(server: Server, tmp_path: Path) -> None:
    before = settled(server)
    (tmp_path / "empty").touch()
    for fields in ((), (f"update=@{tmp_path}/empty",), (f"other=@{tmp_path}/empty",), ("update=",)):
        assert server.post("/update", *fields).status == 400
    file = package(server, tmp_path)
    assert server.post("/update", f"update=@{file}", f"update=@{file}").status == 400
    assert server.get("/update").json == before
    assert list((server.admin / "uploads").iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(server: Server, tmp_path: Path) -> None:
    before = settled(server)
    file = package(server, tmp_path, data=secrets.token_hex(4_000_000).encode())
    with pytest.raises(AssertionError, match="28"):  # curl's code for a timeout
        server.curl("-m", "0.7", "--limit-rate", "2M", "-F", f"update=@{file}", path=f"/update?token={TOKEN}")
    server.until("/version", lambda _: not list((server.admin / "uploads").iterdir()))
    assert server.get("/update").json == before


# -- vendors


def test_a_vendors_wrapper_is_used_instead(server: Server, tmp_path: Path) -> None:
    status = "$APPLIANCE_ADMIN/etc/status_update.json"
    wrapper(
        server,
        'echo "vendor runs $SSH_ORIGINAL_COMMAND $#"\n'
        f'printf \'{{"status":"running","percentage":33}}\' >"{status}"\nsleep 0.5\n'
        'echo vendor >"$APPLIANCE_ADMIN/etc/version.txt"\n'
        f'printf \'{{"status":"success","percentage":100}}\' >"{status}"\n'
        'echo "[1][SYSTEM] vendor done" >>"$APPLIANCE_ADMIN/log/update.log"\n',
    )
    assert upload(server, package(server, tmp_path)).status == 202
    server.until("/update", lambda seen: seen["percentage"] == 33)
    seen = settled(server)
    assert (seen["status"], seen["percentage"], version(server)) == ("success", 100, "vendor")
    assert seen["log"].endswith("[1][SYSTEM] vendor done")
    assert "vendor runs update 0\n" in (server.admin / "log" / "update_output.log").read_text()
    (server.admin / "uploads" / "software_package-zzz.enc").unlink()


def test_a_wrapper_that_is_not_executable_and_says_nothing(server: Server, tmp_path: Path) -> None:
    wrapper(server, "exit 0\n").chmod(0o644)
    assert upload(server, package(server, tmp_path)).status == 202
    seen = settled(server)
    assert (seen["status"], seen["percentage"]) == ("success", 100)
    (server.admin / "uploads" / "software_package-zzz.enc").unlink()


def test_the_older_status_file(server: Server, tmp_path: Path) -> None:
    etc = "$APPLIANCE_ADMIN/etc"
    here, go = tmp_path / "here", tmp_path / "go"
    waiting = WAITING.format(here=here, go=go)
    wrapper(server, f'echo running >"{etc}/status_update.txt"\n{waiting}echo success >"{etc}/status_update.txt"\n')
    file = package(server, tmp_path)
    assert upload(server, file).status == 202
    server.until("/update", lambda _: here.exists())
    assert server.get("/update").json["status"] == "running"
    go.touch()
    assert settled(server)["status"] == "success"

    errors = f'echo E1002 >"{etc}/status_error_code.txt"; echo vendor text >"{etc}/status_error_message.txt"\n'
    wrapper(server, f'{errors}echo failed >"{etc}/status_update.txt"\nexit 1\n')
    assert upload(server, file).status == 202
    seen = settled(server)
    assert (seen["status"], seen["error-code"], seen["error-message"]) == ("failed", "E1002", "vendor text")

    wrapper(server, f'echo failed >"{etc}/status_update.txt"\nexit 1\n')
    assert upload(server, file).status == 202
    seen = settled(server)
    assert (seen["status"], seen["error-code"], seen["error-message"]) == ("failed", "E1000", "Script error")
    (server.admin / "uploads" / "software_package-zzz.enc").unlink()
    (server.admin / "bin" / "wrapper.sh").unlink()
    assert upload(server, file).status == 202
    assert_succeeded(server)
    assert not (server.admin / "etc" / "status_update.txt").exists()


def test_settings_relax_the_version_rule(tmp_path: Path) -> None:
    config = "[admin]\nallow_downgrade = true\nallow_reinstall = true\n"
    with running(tmp_path / "server", config) as server:
        make_keys(server.folder / "keys", server)
        for offered in ("1.0.0", "0.9"):
            assert upload(server, package(server, tmp_path, version=offered)).status == 202
            assert_succeeded(server, offered)
        status = json.loads((server.admin / "etc" / "status_update.json").read_text())
        assert status == {"status": "success", "percentage": 100}
