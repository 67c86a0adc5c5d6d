"""Version, changelog, build, health and services, as curl sees them."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server, running

SIZE = re.compile(r"\d+(\.\d)?[KMGTP]")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("information")) as server:
        yield server


def test_the_first_files_of_a_new_directory(server: Server) -> None:
    etc = server.admin / "etc"
    assert (etc / "version.txt").read_text() == "1.0.0\n"
    for name in ("changelog.txt", "logs.txt", "debug.txt", "backup.txt", "services.txt"):
        assert (etc / name).stat().st_size > 0
    assert sorted(path.name for path in server.admin.iterdir() if path.is_dir()) == [
        "bin", "etc", "log", "tmp", "uploads",
    ]  # fmt: skip


def test_version(server: Server) -> None:
    file = server.admin / "etc" / "version.txt"
    assert server.get("/version").json == {"version": "1.0.0"}
    file.write_text("2.0.1-beta \r\nsecond line\n")
    server.until("/version", lambda seen: seen == {"version": "2.0.1-beta"})
    file.write_text("\n")
    server.until("/version", lambda seen: seen == {"Status": "404 Not Found"})
    file.unlink()
    time.sleep(0.1)
    assert (server.get("/version").status, server.get("/version").json) == (404, {"Status": "404 Not Found"})
    file.write_text("1.0.0\n")
    server.until("/version", lambda seen: seen == {"version": "1.0.0"})


def test_changelog(server: Server) -> None:
    file = server.admin / "etc" / "changelog.txt"
    text = "# Changelog\n\n## 1.0.9 (2015-08-21)\n\n  * Ünicode\n".encode()
    file.write_bytes(text)
    answer = server.get("/changelog")
    assert (answer.status, answer.body) == (200, text)
    assert answer.headers["content-type"].startswith("text/plain")
    file.unlink()
    assert server.get("/changelog").status == 404


def test_build(server: Server) -> None:
    assert (server.get("/build").status, server.get("/build").json) == (404, {"Status": "404 Not Found"})
    file = server.admin / "etc" / "build.json"
    file.write_text('{"builddate":"123456789"}')
    answer = server.get("/build")
    assert (answer.status, answer.json) == (200, {"builddate": "123456789"})
    assert answer.headers["content-type"] == "application/json"
    file.write_text('{"builddate":')
    assert server.get("/build").status == 404
    file.unlink()
    file.mkdir()
    assert server.get("/build").status == 404


def test_health_is_live(server: Server) -> None:
    found = server.get("/health").json
    assert list(found) == ["disk", "memory", "cpu"]
    for name in ("disk", "memory"):
        assert list(found[name]) == ["used", "total", "percentage"]
        assert SIZE.fullmatch(found[name]["used"]) and SIZE.fullmatch(found[name]["total"])
        assert 0 <= found[name]["percentage"] <= 100
    assert list(found["cpu"]) == ["num", "load", "cpu5min"]
    assert found["cpu"]["num"] == os.cpu_count()
    assert re.fullmatch(r"\d+\.\d\d, \d+\.\d\d, \d+\.\d\d", found["cpu"]["load"])
    assert isinstance(found["cpu"]["cpu5min"], int)


def test_a_vendors_fresh_health_wins(server: Server) -> None:
    file = server.admin / "etc" / "health.json"
    given = {"disk": {"used": "1G"}, "vendor": True}
    file.write_text(json.dumps(given))
    assert server.get("/health").json == given
    file.write_text('{"disk":')
    assert "vendor" not in server.get("/health").json
    file.write_text(json.dumps(given))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert "vendor" not in server.get("/health").json
    file.unlink()


def test_services(server: Server) -> None:
    (server.admin / "etc" / "services.txt").write_text("no-such-service\n# a comment\n\n-x\n$(reboot)\n")
    answer = server.get("/services")
    assert answer.json == {"services": [{"no-such-service": "not running"}, {"appliance": "running"}]}


def test_headers_of_every_answer(server: Server) -> None:
    answers = [server.get(path) for path in ("/version", "/changelog", "/health", "/nothing", "/update/log")]
    answers += [server.curl(path="/version"), server.curl("-X", "PUT", path="/version"), server.post("/settings")]
    for answer in answers:
        headers = answer.headers
        assert headers["strict-transport-security"].startswith("max-age=")
        assert headers["x-frame-options"] == "deny"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "content-security-policy" in headers
        assert headers["cache-control"] == "no-cache"


def test_head_is_another_method_and_its_answer_has_no_body(server: Server) -> None:
    answer = server.curl("--head", path="/version?token=yourtoken")
    assert (answer.status, answer.body) == (400, b"")
    assert answer.headers["error-message"] == "Invalid authentication method. Expected GET"


def test_a_directory_that_a_vendor_has_prepared_is_completed_once(tmp_path: Path) -> None:
    etc = tmp_path / "server" / "state" / "admin" / "etc"
    etc.mkdir(parents=True)
    (etc / "version.txt").write_text("7.0\n")
    with running(tmp_path / "server") as server:
        assert server.get("/version").json == {"version": "7.0"}
        assert server.get("/changelog").status == 200
        (etc / "changelog.txt").unlink()
        server.stop()
        server.start()
        assert server.get("/changelog").status == 404
