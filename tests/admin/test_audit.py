"""Every change is written down with address and outcome: in the chained database log and in the older file."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import API, TOKEN, Server, hash_of, running
from tests.support.surface import post_when_idle
from tests.support.vendor import json_file

LINE = re.compile(r'\d+\.\d{9},[0-9a-f]{16},web,admin,([a-z.]+),"([^"\n]*)"')
GENESIS = "0" * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("audit"), "[admin]\nbackoff_after = 3\n") as server:
        yield server


def rows(server: Server) -> list[dict[str, Any]]:
    uri = f"file:{server.state}/appliance.db?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM audit ORDER BY id")]


def lines(server: Server) -> list[tuple[str, str]]:
    text = (server.admin / "log" / "jidoteki-audit.log").read_text()
    found = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        found.append((match[1], match[2]))
    return found


def newest(server: Server, action: str) -> dict[str, Any]:
    """The newest row, which must be of that action, and the newest line of the file with it."""
    row = rows(server)[-1]
    assert (row["action"], row["surface"]) == (action, "admin")
    assert lines(server)[-1] == (action, row["object"])
    return row


@pytest.mark.parametrize(("method", "path", "action", "status", "outcome"), [
    ("POST", "/setup", "setup.post", 400, "refused"),
    ("POST", "/update", "update.post", 400, "refused"),
    ("POST", "/settings", "settings.post", 400, "refused"),
    ("POST", "/certs", "certs.post", 400, "refused"),
    ("POST", "/license", "license.post", 400, "refused"),
    ("POST", "/storage", "storage.post", 400, "refused"),
    ("POST", "/backup", "backup.post", 400, "refused"),
    ("POST", "/backup/restore", "backup.restore", 400, "refused"),
    ("GET", "/logs", "logs.get", 200, "success"),
    ("GET", "/debug", "debug.get", 400, "refused"),
    ("GET", "/reboot", "reboot.get", 400, "refused"),
])  # fmt: skip
def test_each_endpoint_that_changes_something(
    server: Server, method: str, path: str, action: str, status: int, outcome: str
) -> None:
    answer = server.curl("-X", method, "--interface", "127.0.0.3", path=f"{path}?token={TOKEN}")
    assert answer.status == status
    row = newest(server, action)
    assert (row["address"], row["object"], row["actor_name"]) == ("127.0.0.3", API + path, "admin")
    assert row["outcome"].startswith(outcome)
    details = json.loads(row["details"])
    assert details["request"] == answer.headers["x-request-id"]


def test_changes_that_succeed(server: Server, tmp_path: Path) -> None:
    settings = json_file(tmp_path / "s.json", {"network": {"interface": "eth0", "hostname": "audit.host"}})
    storage = json_file(tmp_path / "t.json", {"storage": {"type": "local"}})
    (tmp_path / "package").write_bytes(b"package")
    for path, field in (("/settings", f"settings=@{settings}"), ("/storage", f"settings=@{storage}"),
                        ("/update", f"update=@{tmp_path}/package"), ("/backup", "action=START")):  # fmt: skip
        assert post_when_idle(server, path, field).status == 202
        row = newest(server, f"{path[1:]}.post")
        assert (row["outcome"], row["address"]) == ("success", "127.0.0.1")
    sha256 = hashlib.sha256(b"package").hexdigest()
    update = next(row for row in reversed(rows(server)) if row["action"] == "update.post")
    assert json.loads(update["details"])["sha256"] == sha256
    server.until("/update", lambda seen: seen["status"] != "running")


def test_tokens(server: Server) -> None:
    assert server.post("/setup", f"newtoken={TOKEN}").status == 200
    assert lines(server)[-2:] == [("token.update.success", f"{API}/setup"), ("setup.post", f"{API}/setup")]
    assert server.curl("-F", "newtoken=x", "--interface", "127.0.0.4", path="/setup").status == 403
    row = newest(server, "token.setup.failed")
    assert (row["address"], row["outcome"], row["actor_name"]) == ("127.0.0.4", "refused", "")


def test_refused_credentials_and_the_beginning_of_backing_off(server: Server) -> None:
    count: list[dict[str, Any]] = []
    for number in range(1, 6):
        assert server.curl("--interface", "127.0.0.5", path="/version?token=wrong").status == 403
        count = [row for row in rows(server) if row["address"] == "127.0.0.5"]
        assert len(count) == min(number, 4)
    assert [json.loads(row["details"]).get("backoff") for row in count] == [None, None, None, "begins"]
    assert {row["action"] for row in count} == {"token.authenticate.failed"}
    assert (
        server.curl("--interface", "127.0.0.6", "-F", "token=wrong", "-F", "action=STOP", path="/backup").status == 403
    )
    assert newest(server, "token.authenticate.failed")["address"] == "127.0.0.6"


def test_reading_is_not_audited(server: Server) -> None:
    before = len(rows(server))
    for path in ("/version", "/health", "/endpoints", "/settings", "/update", "/certs"):
        server.get(path)
    server.curl(path=f"/version?hash={hash_of('GET', '/version')}")
    assert len(rows(server)) == before


def test_what_is_audited_cannot_break_the_file(server: Server) -> None:
    answer = server.curl("-H", "X-Forwarded-For: 192.0.2.1", "-X", "POST", path='/backup?token=yourtoken&x=",,%0A"')
    assert answer.status == 400
    assert newest(server, "backup.post")["address"] == "127.0.0.1"


def test_the_chain_holds(server: Server) -> None:
    found = rows(server)
    assert len(found) > 15
    previous = GENESIS
    for number, row in enumerate(found, 1):
        digest = row.pop("hash")
        assert (row["id"], row["previous_hash"]) == (number, previous)
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert digest == hashlib.sha256(text.encode()).hexdigest()
        previous = digest


def test_it_goes_on_after_a_kill(server: Server) -> None:
    before = rows(server)
    server.kill()
    server.start()
    assert server.post("/backup", "action=none").status == 400
    after = rows(server)
    assert after[: len(before)] == before
    assert after[-1]["previous_hash"] == after[-2]["hash"]
    test_the_chain_holds(server)


def test_a_first_run(tmp_path: Path) -> None:
    with running(tmp_path / "server", "[admin]\nfirst_run.enabled = true\n", token=None) as server:
        assert server.curl(path="/version?token=wrong").status == 403
        assert newest(server, "token.firstrun.failed")["outcome"] == "refused"
        words = (server.admin / "etc" / "api.token").read_text()
        assert server.curl("-F", f"newtoken={TOKEN}", path=f"/setup?token={words}").status == 200
        assert [action for action, _ in lines(server)][-2:] == ["token.update.success", "setup.post"]
        content = (server.state / "appliance.db").read_bytes() + (
            server.admin / "log" / "jidoteki-audit.log"
        ).read_bytes()
        assert words.encode() not in content
