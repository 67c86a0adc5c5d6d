"""The log over real HTTPS: a journal of 100 000 entries, and machines that keep their log otherwise or not at all."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.journal import BASE, PLAIN, SECOND, append, messages, numbered, record
from tests.support.machine import SystemServer, system_server
from tests.support.processes import wait_for
from tests.support.server import Answer

ENTRIES = 100_000
GIANT = "x" * (1 << 20) + "end"
ODD: list[Any] = [
    (b"two\nlines\n", "two\nlines\n"),
    (b"bin\xff\0ary", "bin\ufffd\0ary"),
    (GIANT, GIANT),
    ([b"given", b"twice"], "given\ntwice"),
    ("Größe\t\x1b[1m", "Größe\t\x1b[1m"),
]
"""Messages as they are stored, and as they must be shown; they are newer than the others."""
ALL = ENTRIES + len(ODD)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journal")
    odd = ({**PLAIN, "_SYSTEMD_UNIT": "odd.service", "MESSAGE": stored, "PRIORITY": "5"} for stored, _ in ODD)
    append(folder / "system.journal", numbered(0, ENTRIES))
    append(folder / "system.journal", (record(BASE + ENTRIES * SECOND + n, fields) for n, fields in enumerate(odd)))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, journal: Path) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("logs"), f'journal_directory = "{journal}"\n') as server:
        yield server


def ask(server: SystemServer, **query: object) -> Answer:
    return server.api("GET", f"/logs?{urlencode(query)}")


def page(server: SystemServer, **query: object) -> Any:
    answer = ask(server, **query)
    assert answer.status == 200, answer
    return answer.json["data"]


def shown(found: Any) -> list[str]:
    return [entry["message"] for entry in found["logs"]]


def test_pages_of_a_large_journal_are_disjoint_and_cover_it(server: SystemServer) -> None:
    found: list[str] = []
    pages = -(-ALL // 1000)
    token = [f"Authorization: Bearer {server.tokens['admin']}"]
    paths = [f"/api/v1/logs?page={number}&page_size=1000" for number in range(1, pages + 1)]
    for number, answer in enumerate(server.many(("GET", path, token) for path in paths), 1):
        each = answer.json["data"]
        assert (each["page"], each["page_size"]) == (number, 1000)
        assert (each["total_count"], each["total_capped"]) == (ALL, False)
        found += shown(each)
    numbers = [f"message number {each}" for each in range(ENTRIES - 1, -1, -1)]
    assert found == [*(text for _, text in reversed(ODD)), *numbers]
    beyond = page(server, page=pages + 1, page_size=1000)
    assert (beyond["logs"], beyond["total_count"]) == ([], ALL)


def test_an_entry(server: SystemServer) -> None:
    (entry,) = page(server, page=ALL - 7, limit=1)["logs"]
    moment = datetime.fromtimestamp(BASE / SECOND, UTC) + timedelta(seconds=7)
    assert datetime.fromisoformat(entry.pop("timestamp")) == moment
    assert entry == {
        "priority": "debug",
        "unit": "u1",
        "message": "message number 7",
        "hostname": "probe",
        "pid": 102,
    }


def test_messages_are_whole(server: SystemServer) -> None:
    for name in ("service", "unit"):
        found = page(server, **{name: "odd"})
        assert shown(found) == [text for _, text in reversed(ODD)]
        assert {entry["priority"] for entry in found["logs"]} == {"notice"}


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (0, ("emergency", "emerg", "0")),
        (2, ("critical", "crit", "CRIT", "2")),
        (3, ("error", "err", "3")),
        (4, ("warning", "warn", "4")),
        (6, ("info", "6")),
        (7, ("debug", "7")),
    ],
)
def test_priorities_in_both_spellings(server: SystemServer, number: int, names: tuple[str, ...]) -> None:
    odd = len(ODD) if number >= 5 else 0
    for name in names:
        found = page(server, priority=name, page_size=3)
        assert found["total_count"] == ENTRIES // 8 * (number + 1) + odd, name
        newest = [text for _, text in reversed(ODD)] if odd else []
        newest += [f"message number {each}" for each in range(ENTRIES - 1, ENTRIES - 25, -1) if each % 8 <= number]
        assert shown(found) == newest[:3]


def test_filters_find_what_journalctl_finds(server: SystemServer, journal: Path) -> None:
    start, end = BASE // SECOND + 5000, BASE // SECOND + 5999
    times = (f"--since=@{start}", f"--until=@{end}")
    rfc: dict[str, object] = {
        "since": datetime.fromtimestamp(start, UTC).isoformat(),
        "until": datetime.fromtimestamp(end, UTC).isoformat().replace("+00:00", "Z"),
    }
    cases: list[tuple[dict[str, object], tuple[str, ...]]] = [
        (rfc, times),
        ({"since": start, "until": end}, times),
        ({**rfc, "service": "u1"}, (*times, "--unit=u1")),
        ({**rfc, "unit": "u1.service"}, (*times, "--unit=u1")),
        ({**rfc, "service": "app2"}, (*times, "--identifier=app2")),
        ({**rfc, "service": "u0", "priority": "err"}, (*times, "--unit=u0", "--priority=err")),
        ({**rfc, "search": "NUMBER 55"}, (*times, "--grep=number 55")),
    ]
    for query, arguments in cases:
        found = page(server, page_size=1000, **query)
        expected = messages(journal, *arguments)
        assert expected
        assert shown(found) == expected, query
        assert found["total_count"] == len(expected)


@pytest.mark.parametrize(
    "query", [{"service": "nothing"}, {"since": "2099-01-01"}, {"until": 5}, {"search": "nowhere"}]
)
def test_nothing_is_found(server: SystemServer, query: dict[str, object]) -> None:
    found = page(server, **query)
    assert (found["logs"], found["total_count"], found["total_capped"]) == ([], 0, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"page_size": 1001}, "page_size"),
        ({"page_size": 0}, "page_size"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": 5, "page_size": 6}, "limit"),
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": "1.5"}, "page"),
        ({"page": 10**13}, "page"),
        ({"priority": "loud"}, "priority"),
        ({"priority": "8"}, "priority"),
        ({"priority": "0..7"}, "priority"),
        ({"service": "--flush"}, "service"),
        ({"service": "a\nb"}, "service"),
        ({"service": "x" * 300}, "service"),
        ({"unit": "../x"}, "unit"),
        ({"service": "a", "unit": "b"}, "unit"),
        ({"since": "yesterday"}, "since"),
        ({"since": "-1h; reboot"}, "since"),
        ({"since": "2025-13-01"}, "since"),
        ({"until": "--rotate"}, "until"),
        ({"since": "2025-02-02", "until": "2025-02-01"}, "since"),
        ({"search": "x" * 257}, "search"),
        ({"search": "a\x07b"}, "search"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_cannot_be_asked(server: SystemServer, query: dict[str, object], field: str) -> None:
    answer = ask(server, **query)
    assert answer.status == 400, answer
    error = answer.json["error"]
    assert error["code"] in ("INVALID_INPUT", "VALIDATION_ERROR")
    assert field in error["message"]


def test_others_read_as_well_and_nobody_without_a_token(server: SystemServer) -> None:
    assert server.data("/logs?limit=1", who="reader")["total_count"] == ALL
    answer = server.api("GET", "/logs", who=None)
    assert (answer.status, answer.json["error"]["code"]) == (401, "UNAUTHORIZED")


def test_clients_that_do_not_read_cost_no_memory_without_bound(tmp_path: Path) -> None:
    entries = (record(BASE + n, {**PLAIN, "MESSAGE": GIANT}) for n in range(12))
    append(tmp_path / "journal" / "system.journal", entries)
    with system_server(tmp_path / "server", f'journal_directory = "{tmp_path / "journal"}"\n') as server:
        argv = [*server.machine.prefix, "curl", "-sS", "-o", "/dev/null", "--limit-rate", "1k"]
        argv += ["--cacert", str(server.server.certificate), "-H", f"Authorization: Bearer {server.tokens['reader']}"]
        slow = [subprocess.Popen([*argv, f"{server.server.base}/api/v1/logs"]) for _ in range(7)]
        try:
            answer = wait_for(lambda: (found := ask(server)).status == 503 and found, "the refusal")
            assert answer.json["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert answer.headers["retry-after"] == "5"
            assert server.api("GET", "/system/summary").status == 200
            assert len(page(server, limit=1)["logs"][0]["message"]) == len(GIANT)
        finally:
            for process in slow:
                process.kill()
                process.wait()
        found = wait_for(lambda: (found := ask(server)).status == 200 and found, "an answer")
        assert shown(found.json["data"]) == [GIANT] * 12


def test_whatever_keeps_the_log_is_found_while_the_server_runs(tmp_path: Path) -> None:
    with system_server(tmp_path) as server:
        run = server.machine.run
        assert (page(server)["logs"], page(server)["total_count"]) == ([], 0)
        line = datetime.now().strftime("%b %e %H:%M:%S") + " gate sshd[7]: from syslog\n"
        run("tee", "/var/log/syslog", stdin=line)
        (entry,) = page(server)["logs"]
        assert (entry["message"], entry["unit"], entry["pid"], entry["hostname"]) == ("from syslog", "sshd", 7, "gate")
        assert abs((datetime.now(UTC) - datetime.fromisoformat(entry["timestamp"])).total_seconds()) < 120

        journalctl = run("sh", "-c", "command -v journalctl").stdout.strip()
        run("mount", "--bind", "/dev/null", journalctl)  # in the private mount namespace, and no program any more
        assert shown(page(server)) == ["from syslog"]
        run("rm", "/var/log/syslog")
        answer = ask(server)
        assert (answer.status, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        run("umount", journalctl)
        assert page(server)["logs"] == []

        append(tmp_path / "system.journal", [record(int(time.time() * SECOND), {**PLAIN, "MESSAGE": "from a journal"})])
        folder = f"/var/log/journal/{run('cat', '/etc/machine-id').stdout.strip()}"
        run("mkdir", "-p", folder)
        run("cp", str(tmp_path / "system.journal"), folder)
        assert shown(page(server)) == ["from a journal"]
