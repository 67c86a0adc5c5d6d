"""/ws/logs and the events of the log, of the real server over TLS, from real journal files."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.journal import BASE, PLAIN, SECOND, Writer, append, numbered, record
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer, system_server
from tests.support.node import AUTHENTICATE, converse
from tests.support.processes import children, wait_for

EXAMPLE = """
ws.send(JSON.stringify({
  type: 'subscribe',
  payload: {
    filters: {
      unit: 'sshd',
      priority: 'info',
      follow: true
    }
  }
}));
"""
"""The second JavaScript example of the reference."""

FILTERS: list[dict[str, Any]] = [
    {"unit": "u0"},
    {"unit": "u1"},
    {"unit": "u2.service"},
    {"priority": "err"},
    {"unit": "u1", "priority": "error"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[SystemServer]:
    config = f'websocket_limit = 100\njournal_directory = "{folder}"\n[server]\nlog_level = "debug"\n'
    with system_server(tmp_path_factory.mktemp("logs"), config) as server:
        yield server


@pytest.fixture
def file(folder: Path, server: SystemServer) -> Iterator[Path]:
    """The journal's only file, which is not there yet; nobody follows."""
    wait_for(lambda: not following(server), "the end of those who follow")
    yield folder / "system.journal"
    for each in folder.iterdir():
        each.unlink()


@pytest.fixture
def writer(file: Path) -> Iterator[Writer]:
    """Who writes to the file, in which there are a hundred entries already."""
    append(file, numbered(0, 100))
    writer = Writer(file)
    yield writer
    writer.close()


def journalctls(server: SystemServer) -> dict[int, list[str]]:
    """The server's journalctl processes: their arguments by pid."""
    found = {}
    for pid in children(server.server.pid):
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv[0].endswith("journalctl"):
            found[pid] = argv
    return found


def following(server: SystemServer) -> list[int]:
    """Those that follow."""
    return [pid for pid, argv in journalctls(server).items() if "--follow" in argv]


def followed_by(server: SystemServer, count: int) -> None:
    """Wait until so many follow, and nobody reads a backlog."""
    wait_for(lambda: len(following(server)) == len(journalctls(server)) == count, f"{count} who follow")


def subscribe(socket: LiveSocket, **filters: Any) -> None:
    socket.say("subscribe", payload={"filters": filters})


def messages(socket: LiveSocket, count: int) -> list[str]:
    """The next messages of the log."""
    found = []
    for _ in range(count):
        message = socket.hear()
        assert message["type"] == "data", message
        found.append(message["payload"]["message"])
    return found


def expected(numbers: Any) -> list[str]:
    return [f"message number {number}" for number in numbers]


def nothing_more(socket: LiveSocket) -> None:
    """Nothing has come but what was heard."""
    socket.say("ping", id="nothing more")
    assert socket.hear() == {"type": "pong", "id": "nothing more"}


def matches(filters: dict[str, Any], number: int) -> bool:
    unit = filters.get("unit", "").removesuffix(".service")
    return unit in ("", f"u{number % 3}") and ("priority" not in filters or number % 8 <= 3)


def test_the_references_example_in_node(server: SystemServer, file: Path) -> None:
    append(file, numbered(0, 5, SYSLOG_IDENTIFIER="sshd", _SYSTEMD_UNIT="sshd.service", PRIORITY="6"))
    append(file, numbered(5, 5))
    greeting, *entries, end = converse(server, "/ws/logs", AUTHENTICATE + EXAMPLE, 6)
    assert greeting == {"type": "auth", "payload": {"authenticated": True, "username": "admin"}}
    assert [entry["payload"]["message"] for entry in entries] == expected(range(5))
    assert {(entry["type"], entry["payload"]["unit"], entry["payload"]["level"]) for entry in entries} == {
        ("data", "sshd", "info")
    }
    assert end == {"closed": 1000}


def test_the_references_example(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/logs", "reader") as socket:
        socket.say("subscribe", payload={"filters": {"unit": "u1", "priority": "info", "follow": True}})
        backlog = [number for number in range(100) if number % 3 == 1 and number % 8 < 7]
        assert messages(socket, len(backlog)) == expected(backlog)
        followed_by(server, 1)
        fields = {"_SYSTEMD_UNIT": "u1.service", "MESSAGE": "new", "_PID": "7", "PRIORITY": "6"}
        writer.write([record(BASE + 100 * SECOND + 5, {**PLAIN, **fields})])
        assert socket.hear() == {
            "type": "data",
            "payload": {
                "timestamp": "2025-10-09T08:55:00.000005Z",
                "level": "info",
                "unit": "u1",
                "message": "new",
                "hostname": "probe",
                "pid": 7,
            },
        }


def test_fifty_clients_and_five_filters(server: SystemServer, writer: Writer) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(live_socket(server, "/ws/logs")) for _ in range(50)]
        for number, socket in enumerate(sockets):
            subscribe(socket, **FILTERS[number % 5], lines=0)
        followed_by(server, 5)
        writer.write(numbered(100, 400))
        for number, socket in enumerate(sockets):
            wanted = [each for each in range(100, 500) if matches(FILTERS[number % 5], each)]
            assert messages(socket, len(wanted)) == expected(wanted)
        for socket in sockets:
            nothing_more(socket)
        followed_by(server, 5)
        for socket in sockets[::5]:
            socket.say("unsubscribe")
        followed_by(server, 4)
        writer.write(numbered(500, 10))
        for socket in sockets[::5]:
            nothing_more(socket)
    followed_by(server, 0)


def test_backlog_and_following_while_entries_come(server: SystemServer, writer: Writer) -> None:
    written = 100
    with ExitStack() as stack:
        begun = []
        for _ in range(12):
            for _ in range(5):
                writer.write(numbered(written, 100))
                written += 100
            socket = stack.enter_context(live_socket(server, "/ws/logs"))
            subscribe(socket, since=(BASE // SECOND) + written - 300)
            begun.append((written - 300, socket))
        writer.write(numbered(written, 100))
        written += 100
        for first, socket in begun:
            assert messages(socket, written - first) == expected(range(first, written))
            nothing_more(socket)


def test_a_client_that_stalls_gets_every_line(server: SystemServer, writer: Writer) -> None:
    lines, text = 15_000, "x" * 1500  # more than the kernel's buffers hold
    with live_socket(server, "/ws/logs") as stalled, live_socket(server, "/ws/logs") as reading:
        for socket in (stalled, reading):
            subscribe(socket, lines=0)
        followed_by(server, 1)
        time.sleep(0.5)
        before = memory(server)
        most = 0
        for begin in range(0, lines, 500):
            fields = ({**PLAIN, "MESSAGE": f"{number} {text}"} for number in range(begin, begin + 500))
            writer.write(record(BASE + (1000 + begin) * SECOND + at, each) for at, each in enumerate(fields))
            assert messages(reading, 500) == [f"{number} {text}" for number in range(begin, begin + 500)]
            most = max(most, memory(server))
        assert most - before < 30 << 20
        assert messages(stalled, lines) == [f"{number} {text}" for number in range(lines)]
        assert memory(server) - before < 30 << 20
        followed_by(server, 1)
        writer.write(numbered(30_000, 5))
        for socket in (stalled, reading):
            assert messages(socket, 5) == expected(range(30_000, 30_005))
            nothing_more(socket)


def test_a_second_subscription_replaces_the_first(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/logs") as socket:
        subscribe(socket, unit="u0", lines=1)
        assert messages(socket, 1) == expected([99])
        followed_by(server, 1)
        socket.say("subscribe", payload={"filters": {"priority": "loud"}}, id=5)
        answer = socket.hear()
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "INVALID_INPUT", 5)
        writer.write(numbered(102, 1))
        assert messages(socket, 1) == expected([102])  # the first one goes on
        subscribe(socket, unit="u1", lines=0)
        wait_for(lambda: "_SYSTEMD_UNIT=u1.service" in str(journalctls(server)), "the second one")
        followed_by(server, 1)
        writer.write(numbered(103, 6))
        assert messages(socket, 2) == expected([103, 106])
        nothing_more(socket)


def test_without_following_it_ends(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/logs") as socket:
        for filters, found in (
            ({"lines": 3}, range(97, 100)),
            ({"unit": "u2", "lines": 2}, [95, 98]),
            ({"since": "2025-10-09 08:54:58"}, [98, 99]),
            ({"since": BASE // SECOND + 97.5, "until": BASE // SECOND + 98}, [98]),
            ({"until": "2025-10-09T08:53:22Z"}, range(3)),
            ({}, range(100)),
            ({"unit": "nothing"}, []),
        ):
            socket.say("subscribe", payload={"filters": {**filters, "follow": False}}, id="x")
            assert messages(socket, len(found)) == expected(found)
            assert socket.hear() == {"type": "end", "payload": {"channel": "logs"}, "id": "x"}
        until = time.time() + 1
        subscribe(socket, until=until, lines=0)
        followed_by(server, 1)
        writer.write([record(int(until * SECOND), {"MESSAGE": "the last"}), record(int((until + 1) * SECOND), {})])
        assert messages(socket, 1) == ["the last"]
        assert socket.hear() == {"type": "end", "payload": {"channel": "logs"}}
        followed_by(server, 0)


def test_unsubscribe_stops_at_once(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/logs") as socket:
        subscribe(socket)
        messages(socket, 100)
        followed_by(server, 1)
        socket.say("unsubscribe")
        nothing_more(socket)
        writer.write(numbered(100, 10))
        followed_by(server, 0)
        nothing_more(socket)
        subscribe(socket, lines=10)
        assert messages(socket, 10) == expected(range(100, 110))


def test_journalctl_is_killed(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/logs") as socket:
        subscribe(socket, lines=1)
        assert messages(socket, 1) == expected([99])
        followed_by(server, 1)
        (pid,) = following(server)
        os.kill(pid, signal.SIGKILL)
        writer.write(numbered(100, 1000))
        assert messages(socket, 1000) == expected(range(100, 1100))
        nothing_more(socket)
        assert following(server) != [pid]


def test_messages_come_whole(server: SystemServer, writer: Writer) -> None:
    long = "ä" * (1 << 19)
    texts: list[tuple[str | bytes | list[bytes], str]] = [
        ("two\nlines\n", "two\nlines\n"),
        (b"bin\xff\0ary", "bin\ufffd\0ary"),
        ([b"one", b"two"], "one\ntwo"),
        ("Größe\t\x1b[1m\u2028\U0001f600", "Größe\t\x1b[1m\u2028\U0001f600"),
        (long, long),
        (b"\xfe" + long.encode(), "\ufffd" + long[:-1] + "\ufffd"),
    ]
    with live_socket(server, "/ws/logs") as socket:
        subscribe(socket, unit="whole", lines=0)
        followed_by(server, 1)
        fields = {"SYSLOG_IDENTIFIER": "whole"}
        writer.write(record(BASE + 1000 * SECOND + n, {**fields, "MESSAGE": raw}) for n, (raw, _) in enumerate(texts))
        payloads = [socket.hear()["payload"] for _ in texts]
    assert [each["message"] for each in payloads] == [text for _, text in texts]
    assert ["message_truncated" in each for each in payloads] == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"unit": "--help"}, "unit"),
        ({"unit": "a" * 257}, "payload.filters.unit"),
        ({"unit": 1}, "payload.filters.unit"),
        ({"priority": "loud"}, "priority"),
        ({"priority": 8}, "payload.filters.priority"),
        ({"since": "yesterday"}, "since"),
        ({"since": -1}, "payload.filters.since"),
        ({"since": 1e300}, "payload.filters.since"),
        ({"until": "2025-13-01"}, "until"),
        ({"since": "2025-01-02", "until": "2025-01-01"}, "since"),
        ({"follow": "yes"}, "payload.filters.follow"),
        ({"lines": -1}, "payload.filters.lines"),
        ({"lines": 10_001}, "payload.filters.lines"),
        ([], "payload.filters"),
    ],
)
def test_what_cannot_be_asked_for(server: SystemServer, filters: Any, field: str) -> None:
    with live_socket(server, "/ws/logs") as socket, live_socket(server, "/ws/events") as events:
        socket.say("subscribe", payload={"filters": filters}, id=3)
        events.say("subscribe", payload={"channel": "log-events", "filters": filters}, id=3)
        for each in (socket, events):
            answer = each.hear()
            assert (answer["type"], answer["code"], answer["id"]) == ("error", "INVALID_INPUT", 3)
            assert answer["error"].startswith(f"{field}:"), answer


def test_events(server: SystemServer, writer: Writer) -> None:
    with live_socket(server, "/ws/events", "reader") as socket, live_socket(server, "/ws/logs") as other:
        subscribe(other, unit="u1", lines=1)
        messages(other, 1)
        filters = {"unit": "u1", "lines": 1}
        socket.say("subscribe", payload={"channel": "log-events", "filters": filters})
        event = socket.hear()
        assert set(event["payload"]["entry"]) == {"timestamp", "level", "unit", "message", "hostname", "pid"}
        assert event["payload"]["kind"] == "log"
        assert event["payload"]["entry"]["message"] == "message number 97"
        followed_by(server, 1)  # both are fed by one
        writer.write(numbered(100, 1))
        assert socket.hear()["payload"]["entry"]["message"] == "message number 100"
        socket.say("subscribe", payload={"channel": "metrics", "filters": {"interval": 1}})
        socket.hear_until(lambda message: message["payload"]["kind"] == "metrics")
        writer.write(numbered(103, 1))
        socket.hear_until(lambda message: message["payload"]["kind"] == "log")
        socket.say("unsubscribe", payload={"channel": "metrics"})
        socket.say("unsubscribe", payload={"channel": "log-events"})
        socket.say("ping")
        socket.hear_until(lambda message: message["type"] == "pong")
        writer.write(numbered(106, 1))
        assert messages(other, 3) == expected([100, 103, 106])
        nothing_more(socket)
        socket.say("subscribe", payload={"channel": "log-events", "filters": {"lines": 0, "follow": False}}, id=1)
        assert socket.hear() == {"type": "end", "payload": {"channel": "log-events"}, "id": 1}
        socket.say("subscribe", payload={"channel": "log-events:u1"})
        assert socket.hear()["code"] == "UNKNOWN_CHANNEL"
    followed_by(server, 0)


def test_too_many_filters(server: SystemServer, writer: Writer) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(live_socket(server, "/ws/logs")) for _ in range(33)]
        for number, socket in enumerate(sockets[:32]):
            subscribe(socket, unit=f"unit{number}")
        followed_by(server, 32)
        subscribe(sockets[32], unit="one too many")
        answer = sockets[32].hear()
        assert (answer["type"], answer["code"]) == ("error", "SERVICE_UNAVAILABLE")
        assert "32 different log filters" in answer["error"]
        subscribe(sockets[32], unit="u0", follow=False, lines=1)
        assert messages(sockets[32], 1) == expected([99])


def test_clients_that_go_without_a_word(server: SystemServer, writer: Writer) -> None:
    for filters in FILTERS:
        with live_socket(server, "/ws/logs") as socket:
            subscribe(socket, **filters)
            followed_by(server, 1)
            socket.connection.close()
        followed_by(server, 0)


def test_no_message_is_in_the_servers_log(server: SystemServer) -> None:
    """After everything that was done in this module."""
    text = server.server.log.read_text()
    assert '"type":"websocket"' in text
    for body in ("message number", "the last", "Größe", "xxxxxxxx"):
        assert body not in text
    assert not re.findall(r"Traceback|Unhandled", text)


def test_the_journal_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where journalctl looks by itself: journald is started after the server, rotates its files, and is restarted."""
    with system_server(tmp_path_factory.mktemp("journald")) as server, ExitStack() as stack:
        run = server.machine.run
        run("mkdir", "-p", "/run/log/journal")
        run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")  # journald looks for one
        socket = stack.enter_context(live_socket(server, "/ws/logs"))
        subscribe(socket, unit="probe")
        for begin in (0, 100):
            argv = [*server.machine.prefix, "/lib/systemd/systemd-journald"]
            journald = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(journald.wait)
            stack.callback(journald.kill)
            wait_for(lambda: run("test", "-S", "/run/systemd/journal/dev-log", check=False).returncode == 0, "journald")
            for part in range(begin, begin + 100, 20):
                text = "".join(f"entry {number}\n" for number in range(part, part + 20))
                run("logger", "--socket=/run/systemd/journal/dev-log", "--tag=probe", stdin=text)
                assert messages(socket, 20) == [f"entry {number}" for number in range(part, part + 20)]
                journald.send_signal(signal.SIGUSR2)  # rotates (systemd-journald.service(8))
            journald.terminate()
            journald.wait(60)
            run("rm", "/run/systemd/journal/dev-log")
        assert len(run("sh", "-c", "ls /run/log/journal/*/*.journal").stdout.splitlines()) > 5
        nothing_more(socket)
        subscribe(socket, unit="probe", lines=3, follow=False)
        assert messages(socket, 3) == ["entry 197", "entry 198", "entry 199"]


def memory(server: SystemServer) -> int:
    """Bytes of the server's own memory."""
    status = Path(f"/proc/{server.server.pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) << 10
