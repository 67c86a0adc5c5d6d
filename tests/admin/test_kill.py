"""kill -9 of the server, of a script, or of both, at each step of an update, a change of certificates and a restore.

Afterwards no status lies, nothing is half-installed, and the next run works.
"""

import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.authority import Issued, issue
from tests.support.kills import Stage
from tests.support.server import API, TOKEN, Server, running
from tests.support.surface import post_when_idle
from tests.support.vendor import archive, build, files_below, make_keys, openssl

UPDATE = """#!/bin/sh
cp version.txt "$APPLIANCE_ADMIN/etc/version.txt"
"""
UNTOUCHED = ("log/", "tmp/", "uploads/", "etc/status_")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("kill")) as server:
        server.insecure = True
        keys = make_keys(server.folder / "keys", server)
        build(keys, server.folder / "package.enc", {"update.sh": UPDATE, "data": b"x" * 100_000})
        yield server


@pytest.fixture(scope="module")
def stages(server: Server) -> Stage:
    return Stage.set(server)


@pytest.fixture
def stage(server: Server, stages: Stage) -> Iterator[Stage]:
    (server.admin / "etc" / "version.txt").write_text("1.0.0\n")
    yield stages
    stages.go()
    if server.process is None:
        server.start()


# -- updates


def start_update(server: Server) -> None:
    assert post_when_idle(server, "/update", f"update=@{server.folder}/package.enc").status == 202


def settled(server: Server, path: str = "/update") -> Any:
    return server.until(path, lambda seen: seen["status"] != "running")


def version(server: Server) -> str:
    return (server.admin / "etc" / "version.txt").read_text().strip()


def assert_next_update_works(server: Server, stage: Stage) -> None:
    stage.clear()
    (server.admin / "etc" / "version.txt").write_text("1.0.0\n")
    start_update(server)
    seen = settled(server)
    assert list(seen) == ["status", "percentage", "log"]
    assert (seen["status"], seen["percentage"], version(server)) == ("success", 100, "1.0.1")
    assert list((server.admin / "uploads").iterdir()) == []
    assert not list((server.admin / "tmp").glob("package*"))


def assert_failed(server: Server, percentage: int, message: str) -> None:
    seen = settled(server)
    log = seen.pop("log")
    expected = {"status": "failed", "percentage": percentage, "error-message": message, "error-code": "E1000"}
    assert seen == expected
    assert log.endswith(f"[SYSTEM] Failed updating: {message}")


STEPS = [("date", percentage) for percentage in (10, 20, 30, 40, 50, 60, 70)]


@pytest.mark.parametrize(("program", "percentage"), [*STEPS, ("openssl", 30), ("openssl", 40)])
def test_the_script_of_an_update_is_killed(server: Server, stage: Stage, program: str, percentage: int) -> None:
    before = files_below(server.admin, without=UNTOUCHED)
    stage.at(program, percentage=percentage)
    start_update(server)
    stage.reached()
    assert server.get("/update").json["percentage"] == percentage
    stage.kill_script("update")
    assert_failed(server, percentage, "Script error")
    assert files_below(server.admin, without=UNTOUCHED) == before
    assert_next_update_works(server, stage)


@pytest.mark.parametrize(("program", "percentage"), [*STEPS, ("openssl", 40)])
def test_the_power_fails_during_an_update(server: Server, stage: Stage, program: str, percentage: int) -> None:
    before = files_below(server.admin, without=UNTOUCHED)
    stage.at(program, percentage=percentage)
    start_update(server)
    stage.reached()
    stage.kill_all("update")
    server.start()
    assert server.get("/update").json["status"] == "failed"
    assert_failed(server, percentage, "interrupted")
    assert files_below(server.admin, without=UNTOUCHED) == before
    assert_next_update_works(server, stage)


@pytest.mark.parametrize("percentage", [10, 40, 60, 70])
def test_the_server_is_killed_during_an_update(server: Server, stage: Stage, percentage: int) -> None:
    stage.at("date", percentage=percentage)
    start_update(server)
    stage.reached()
    stage.kill_server("update")
    server.start()
    seen = server.get("/update").json
    assert (seen["status"], seen["percentage"]) == ("running", percentage)
    refused = server.post("/update", f"update=@{server.folder}/package.enc")
    assert (refused.status, refused.json["error-code"]) == (400, "E1004")
    stage.release()
    seen = settled(server)
    assert (seen["status"], seen["percentage"], version(server)) == ("success", 100, "1.0.1")


def test_an_update_that_ends_while_the_server_is_away(server: Server, stage: Stage) -> None:
    stage.at("date", percentage=50)
    start_update(server)
    stage.reached()
    stage.kill_server("update")
    stage.release()
    deadline = time.monotonic() + 60
    while version(server) != "1.0.1" and time.monotonic() < deadline:
        time.sleep(0.02)
    server.start()
    assert settled(server)["status"] == "success"
    assert_next_update_works(server, stage)


def test_server_and_script_die_but_not_the_supervisor(server: Server, stage: Stage) -> None:
    stage.at("date", percentage=30)
    start_update(server)
    stage.reached()
    stage.kill_server("update")
    stage.kill_script("update")
    server.start()
    assert_failed(server, 30, "Script error")
    assert_next_update_works(server, stage)


def test_the_script_is_killed_after_its_last_word(server: Server, stage: Stage) -> None:
    # The last status is written with two syncs, of the file and of its folder: the second holds it at its end.
    stage.at("sync", percentage=100)
    start_update(server)
    stage.reached()
    assert version(server) == "1.0.1"
    stage.kill_script("update")
    seen = settled(server)
    assert (seen["status"], seen["percentage"]) == ("success", 100)
    assert "error-code" not in seen
    assert_next_update_works(server, stage)


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1])
def test_the_server_is_killed_just_after_the_upload(server: Server, stage: Stage, delay: float) -> None:
    stage.clear()
    start_update(server)
    time.sleep(delay)
    server.kill()
    server.start()
    seen = settled(server)
    if seen["status"] == "success":
        assert version(server) == "1.0.1"
    else:
        assert (seen["status"], seen["error-code"], version(server)) == ("failed", "E1000", "1.0.0")
        assert_next_update_works(server, stage)


def test_the_server_is_killed_during_the_upload(server: Server, stage: Stage) -> None:
    stage.clear()
    before = server.get("/update").json
    (server.folder / "large").write_bytes(bytes(8_000_000))
    url = server.url(f"/update?token={TOKEN}")
    argv = ["curl", "-sSk", "--limit-rate", "4M", "-F", f"update=@{server.folder}/large", url]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as curl:
        deadline = time.monotonic() + 60
        while not list((server.admin / "uploads").glob(".upload-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        server.kill()
        assert curl.wait(60) != 0
    server.start()
    assert list((server.admin / "uploads").iterdir()) == []
    assert server.get("/update").json == before


# -- certificates


@pytest.fixture
def pair(server: Server, tmp_path: Path) -> Issued:
    made = issue(f"{tmp_path.name[-40:].replace('_', '-')}.host", now=datetime.now(UTC))
    (server.folder / "public.pem").write_bytes(made.pem)
    (server.folder / "private.pem").write_bytes(made.key_pem)
    return made


def start_certs(server: Server) -> None:
    fields = (f"public=@{server.folder}/public.pem", f"private=@{server.folder}/private.pem")
    assert post_when_idle(server, "/certs", *fields).status == 202


def handshake(server: Server) -> bytes:
    """The certificate that a whole handshake with its key has shown."""
    shown = openssl("s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", stdin=b"")
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", shown, re.DOTALL)
    assert found
    return found[0]


def assert_old_or_new(server: Server, old: bytes, new: bytes) -> None:
    status = settled(server, "/certs")["status"]
    assert (status, handshake(server)) in (("failed", old), ("success", new))
    etc = server.admin / "etc"
    if (etc / "appliance.key").exists():
        public = openssl("x509", "-in", etc / "appliance.pem", "-noout", "-pubkey")
        assert openssl("pkey", "-in", etc / "appliance.key", "-pubout") == public


def assert_next_certs_work(server: Server, stage: Stage, pair: Issued) -> None:
    stage.clear()
    start_certs(server)
    assert settled(server, "/certs")["status"] == "success"
    assert handshake(server) == pair.pem
    assert list((server.admin / "uploads").iterdir()) == []


CERTS_POINTS = [("date", 1), ("openssl", 1), ("openssl", 3), ("rename", 1), ("rename", 2), ("rename", 4), ("date", 2)]


@pytest.mark.parametrize("who", ["script", "power"])
@pytest.mark.parametrize(("program", "number"), CERTS_POINTS)
def test_a_change_of_certificates_is_killed(
    server: Server, stage: Stage, pair: Issued, program: str, number: int, who: str
) -> None:
    old = handshake(server)
    stage.at(program, number=number)
    start_certs(server)
    stage.reached()
    assert server.get("/certs").json["status"] == "running"
    if who == "script":
        stage.kill_script("certs")
    else:
        stage.kill_all("certs")
        server.start()
        assert server.get("/certs").json["status"] != "running"
    assert_old_or_new(server, old, pair.pem)
    assert_next_certs_work(server, stage, pair)


@pytest.mark.parametrize(("program", "number"), [("openssl", 1), ("date", 2)])
def test_the_server_is_killed_during_a_change_of_certificates(
    server: Server, stage: Stage, pair: Issued, program: str, number: int
) -> None:
    old = handshake(server)
    stage.at(program, number=number)
    start_certs(server)
    stage.reached()
    stage.kill_server("certs")
    server.start()
    assert server.get("/certs").json["status"] == "running"
    assert handshake(server) == old
    stage.release()
    assert settled(server, "/certs")["status"] == "success"
    assert handshake(server) == pair.pem


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15])
def test_the_server_is_killed_just_after_the_certificates_came(
    server: Server, stage: Stage, pair: Issued, delay: float
) -> None:
    stage.clear()
    old = handshake(server)
    start_certs(server)
    time.sleep(delay)
    server.kill()
    server.start()
    assert_old_or_new(server, old, pair.pem)


# -- restore

FILES = ("etc/app.json", "etc/network.json", "etc/storage.json", "etc/license.asc")


@pytest.fixture
def archived(server: Server) -> Path:
    """An archive with other contents than the files have."""
    for name in FILES:
        (server.admin / name).write_text('"old"')
    path = server.folder / "backup.tar"
    path.write_bytes(archive(*((name, tarfile.REGTYPE, "", b'"new"') for name in FILES)))
    return path


def contents(server: Server) -> set[str]:
    return {(server.admin / name).read_text() for name in FILES}


def begin_restore(server: Server, file: Path) -> "subprocess.Popen[bytes]":
    url = f"https://127.0.0.1:{server.port}{API}/backup/restore?token={TOKEN}"
    argv = ["curl", "-sSk", "-w", "%{http_code}", "-F", f"archive=@{file}", url]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def assert_next_restore_works(server: Server, stage: Stage, file: Path) -> None:
    stage.clear()
    assert post_when_idle(server, "/backup/restore", f"archive=@{file}").json == {"Status": "200 OK"}
    assert contents(server) == {'"new"'}
    assert not (server.admin / ".appliance-swap").exists()
    assert list((server.admin / "uploads").iterdir()) == []


# The journal is renamed into its place, each file after it, and the journal again when all is done.
RESTORE_POINTS = [("date", 1), ("rename", 1), ("rename", 2), ("rename", 4), ("rename", 5), ("rename", 6), ("date", 2)]


@pytest.mark.parametrize("who", ["script", "power"])
@pytest.mark.parametrize(("program", "number"), RESTORE_POINTS)
def test_a_restore_is_killed(server: Server, stage: Stage, archived: Path, program: str, number: int, who: str) -> None:
    stage.at(program, number=number)
    with begin_restore(server, archived) as curl:
        stage.reached()
        if who == "script":
            stage.kill_script("restore")
            body, _ = curl.communicate(timeout=60)
            assert body.endswith(b"400") and b"The restoration was interrupted" in body
        else:
            stage.kill_all("restore")
            curl.communicate(timeout=60)
            assert curl.returncode != 0
            server.start()
    assert contents(server) == ({'"new"'} if program == "date" and number == 2 else {'"old"'})
    assert not (server.admin / ".appliance-swap").exists()
    assert_next_restore_works(server, stage, archived)


@pytest.mark.parametrize(("program", "number"), [("rename", 3), ("date", 2)])
def test_the_server_is_killed_during_a_restore(
    server: Server, stage: Stage, archived: Path, program: str, number: int
) -> None:
    stage.at(program, number=number)
    with begin_restore(server, archived) as curl:
        stage.reached()
        stage.kill_server("restore")
        curl.communicate(timeout=60)
        assert curl.returncode != 0
    server.start()
    refused = server.post("/backup/restore", f"archive=@{archived}")
    assert (refused.status, refused.json["Error-Message"]) == (400, "Restore is already running")
    stage.release()
    server.until("/version", lambda _: contents(server) == {'"new"'})
    assert_next_restore_works(server, stage, archived)
