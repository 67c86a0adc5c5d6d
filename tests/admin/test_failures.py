"""What a client is told when the database or the disk fails, and that nothing stays blocked by it."""

import fcntl
import hashlib
import hmac
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.server import API, TOKEN, Answer, Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("failures")) as found:
        yield found


def signed_get(server: Server, path: str) -> Answer:
    now, nonce, digest = str(int(time.time())), secrets.token_hex(16), hashlib.sha256().hexdigest()
    message = "\n".join(["HMAC-SHA256", "GET", API + path, "", now, nonce, digest])
    key = hashlib.sha256(TOKEN.encode()).hexdigest().encode()
    signature = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
    fields = f"timestamp={now}, nonce={nonce}, digest={digest}, signature={signature}"
    return server.curl("-H", f"Authorization: HMAC-SHA256 {fields}", path=path)


def test_a_database_that_is_held_by_another_process(server: Server) -> None:
    with closing(sqlite3.connect(server.state / "appliance.db", isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(3) as pool:
            refused = pool.submit(server.curl, path="/version?token=wrong")
            changed = pool.submit(server.post, "/backup", "action=STOP")
            unknown = pool.submit(signed_get, server, "/version")
            assert (refused.result().status, changed.result().status) == (403, 202)
            assert unknown.result().status == 503
            assert unknown.result().json["Error-Message"] == "The database is not available"
        stranger.execute("ROLLBACK")
    log = server.log.read_text()
    assert "Not in the audit log: token.authenticate.failed /api/v1/admin/version by anonymous from 127.0.0.1" in log
    assert "Not in the audit log: backup.post" in log
    assert "Traceback" not in log
    assert signed_get(server, "/version").json == {"version": "1.0.0"}


def test_an_audit_file_that_cannot_be_written(server: Server) -> None:
    file = server.admin / "log" / "jidoteki-audit.log"
    kept = file.rename(file.with_name("kept"))
    file.mkdir()
    assert server.post("/backup", "action=STOP").status == 202
    assert server.curl(path="/version?token=wrong").status == 403
    file.rmdir()
    kept.rename(file)
    with closing(sqlite3.connect(f"file:{server.state}/appliance.db?mode=ro", uri=True)) as database:
        newest = database.execute("SELECT action FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    assert newest == ("token.authenticate.failed",)


def test_certificates_are_not_blocked_by_a_status_that_could_not_be_written(server: Server) -> None:
    status = server.admin / "etc" / "status_certs.txt"
    status.unlink(missing_ok=True)
    status.mkdir()
    fields = ("public=no certificate;filename=a", "private=no key;filename=b")
    assert server.post("/certs", *fields).status == 500
    status.rmdir()
    assert server.post("/certs", *fields).status == 202
    assert server.until("/certs", lambda seen: seen["status"] != "running")["status"] == "failed"


def test_stopped_while_it_starts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "jobs").mkdir(parents=True)
    argv = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "appliance"]
    with (state / "jobs" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # the start waits two seconds for it
        with subprocess.Popen(
            [*argv, "--state", str(state), "--https", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            wait_for((state / "tls" / "server.pem").exists, "the certificate, made just before that")
            time.sleep(0.3)
            process.terminate()
            output, _ = process.communicate(timeout=30)
    assert b"Traceback" not in output, output.decode()
    assert b"Cannot start" not in output
    assert process.returncode == -signal.SIGTERM  # as twistd ends after a good shutdown
