"""Syslog's files as they grow, are renamed and emptied."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host.errors import Unavailable
from appliance.host.journal.follow import syslog_tail
from appliance.host.journal.follow.syslog_tail import SyslogTail
from appliance.host.journal.query import LogFilter

ALL = LogFilter()
HEAD = "2025-08-01T10:30:00Z host app[5]: "
OLD = 1_700_000_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "syslog"


@pytest.fixture
def tail(log: Path) -> Iterator[SyslogTail]:
    """A tail of an empty file."""
    log.touch()
    tail = SyslogTail(log.parent, ALL)
    tail.begin(0)
    yield tail
    tail.close()


def add(file: Path, text: str, *, settled: bool = False) -> None:
    """Write to a file; `settled`: long ago."""
    with file.open("a") as stream:
        stream.write(text)
    if settled:
        os.utime(file, (OLD, OLD))


def read(tail: SyslogTail) -> list[str]:
    """The messages of all that can be had now."""
    found: list[str] = []
    for _ in range(1000):
        found += [entry.message for entry in tail.read(final=False)]
        if tail.at_end:
            return found
    raise AssertionError("no end")


def test_the_last_entry_waits_until_it_is_whole(log: Path, tail: SyslogTail) -> None:
    assert read(tail) == []
    add(log, f"{HEAD}one\n{HEAD}two\n")
    assert read(tail) == ["one"]
    add(log, " more of two\n")
    assert read(tail) == []
    add(log, HEAD[:10])
    assert read(tail) == []
    add(log, f"{HEAD[10:]}three\n")
    assert read(tail) == ["two\n more of two"]
    os.utime(log, (OLD, OLD))
    assert read(tail) == ["three"]
    assert read(tail) == []


def test_a_line_that_has_only_begun(log: Path, tail: SyslogTail) -> None:
    add(log, HEAD[:12])
    assert read(tail) == []
    add(log, f"{HEAD[12:]}whole\n", settled=True)
    assert read(tail) == ["whole"]


def test_a_renamed_file_is_read_to_its_end(log: Path, tail: SyslogTail) -> None:
    older = log.with_name("syslog.1")
    add(log, f"{HEAD}one\n")
    log.rename(older)
    assert read(tail) == []
    add(older, f"{HEAD}two\n")  # syslog has not been told yet
    add(log, f"{HEAD}three\n")
    assert read(tail) == ["one"]
    os.utime(older, (OLD, OLD))
    assert read(tail) == ["two"]
    os.utime(log, (OLD, OLD))
    assert read(tail) == ["three"]


def test_two_rotations_at_once(log: Path, tail: SyslogTail) -> None:
    add(log, f"{HEAD}one\n", settled=True)
    log.rename(log.with_name("syslog.2"))
    add(log, f"{HEAD}two\n", settled=True)
    log.rename(log.with_name("syslog.1"))
    add(log, f"{HEAD}three\n", settled=True)
    assert read(tail) == ["one", "two", "three"]


def test_the_new_file_is_not_there_yet(log: Path, tail: SyslogTail) -> None:
    add(log, f"{HEAD}one\n", settled=True)
    log.rename(log.with_name("syslog.1"))
    assert read(tail) == ["one"]
    assert read(tail) == []
    add(log, f"{HEAD}two\n", settled=True)
    assert read(tail) == ["two"]


def test_a_file_that_is_emptied(log: Path, tail: SyslogTail) -> None:
    add(log, f"{HEAD}one\n{HEAD}two\n", settled=True)
    assert read(tail) == ["one", "two"]
    log.write_text("")
    assert read(tail) == []
    add(log, f"{HEAD}three\n", settled=True)
    assert read(tail) == ["three"]


def test_pieces_make_no_difference(log: Path, tail: SyslogTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog_tail, "CHUNK", 300)
    texts = [f"entry {number} " + "x" * (number % 170) for number in range(200)]
    add(log, "".join(f"{HEAD}{text}\n" for text in texts), settled=True)
    assert read(tail) == texts


def test_a_long_entry_is_cut(log: Path, tail: SyslogTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog_tail, "CHUNK", 300)
    monkeypatch.setattr(syslog_tail, "MESSAGE_LIMIT", 200)
    add(log, f"{HEAD}one\n{HEAD}{'y' * 1000}\n{HEAD}two\n", settled=True)
    found = [entry for _ in range(10) for entry in tail.read(final=False)]
    assert [(entry.message[:3], entry.truncated) for entry in found] == [("one", False), ("yyy", True), ("two", False)]
    assert len(found[1].message) == 200


def test_what_matches(log: Path) -> None:
    add(log, f"{HEAD}one\n<11>Aug  1 10:30:00 host sshd[7]: bad\n{HEAD}two\n", settled=True)
    for wanted, expected in ((LogFilter(service="sshd"), ["bad"]), (LogFilter(priority=3), ["bad"])):
        tail = SyslogTail(log.parent, wanted)
        tail.begin(None)
        (entry,) = tail.read(final=True)
        assert [entry.message] == expected
        assert (entry.priority, entry.pid, entry.unit, entry.hostname, entry.cursor) == (
            "error",
            7,
            "sshd",
            "host",
            b"",
        )
        tail.close()


@pytest.mark.parametrize(
    ("lines", "expected"), [(0, []), (1, ["4"]), (3, ["2", "3", "4"]), (9, ["0", "1", "2", "3", "4"])]
)
def test_where_it_begins(log: Path, lines: int, expected: list[str]) -> None:
    add(log, "".join(f"{HEAD}{number}\n" for number in range(3)), settled=True)
    log.rename(log.with_name("syslog.1"))
    add(log, "".join(f"{HEAD}{number}\n" for number in range(3, 5)), settled=True)
    tail = SyslogTail(log.parent, ALL)
    tail.begin(lines)
    assert read(tail) == expected
    tail.close()


def test_no_file_and_none_that_can_be_read(tmp_path: Path) -> None:
    tail = SyslogTail(tmp_path, ALL)
    with pytest.raises(Unavailable):
        tail.begin(10)
    assert tail.read(final=True) == []
    assert tail.at_end


def test_after_the_end_nothing_is_read(log: Path, tail: SyslogTail) -> None:
    add(log, f"{HEAD}one\n", settled=True)
    tail.close()
    tail.close()
    assert tail.read(final=True) == []
