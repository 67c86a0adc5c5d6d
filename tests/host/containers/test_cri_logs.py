"""The form of logs that containerd and CRI-O write, and the files of it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.containers.cri import log_file, log_format
from appliance.host.containers.cri.log_file import LogFile
from appliance.host.containers.cri.log_format import LogLines, Selection, head
from appliance.host.containers.errors import RuntimeFailed
from appliance.host.containers.model import LogOptions

BEGIN = 1_700_000_000
"""Seconds since 1970 of the first part of each log; the next comes ten seconds later."""

STREAMS = st.sampled_from(["stdout", "stderr"])
TEXTS = st.binary(max_size=12).map(lambda data: data.replace(b"\n", b" "))
PARTS = st.lists(st.tuples(STREAMS, st.booleans(), TEXTS), max_size=40)
Parts = Sequence[tuple[str, bool, bytes]]


def stamp(number: int) -> str:
    minutes, seconds = divmod(20 + 10 * number, 60)  # BEGIN is 22:13:20
    hours, minutes = divmod(13 + minutes, 60)
    return f"2023-11-14T{22 + hours}:{minutes:02}:{seconds:02}.000000001Z"


def written(parts: Parts) -> bytes:
    return b"".join(
        f"{stamp(number)} {stream} {'F' if ends else 'P'} ".encode() + text + b"\n"
        for number, (stream, ends, text) in enumerate(parts)
    )


def expected(parts: Parts, options: LogOptions) -> list[bytes]:
    """The lines, by the simplest way there is: all, in the order of their ends, then those that are asked for."""
    held: dict[str, tuple[int, int, bytes]] = {}
    lines: list[tuple[int, int, str, bytes]] = []  # number of the last and the first part, stream, text
    for number, (stream, ends, text) in enumerate(parts):
        first, _, begun = held.pop(stream, (number, number, b""))
        if ends:
            lines.append((number, first, stream, begun + text + b"\n"))
        else:
            held[stream] = (first, number, begun + text)
    rest = [(last, first, stream, text) for stream, (first, last, text) in held.items()]
    streams = {name for name, wanted in (("stdout", options.stdout), ("stderr", options.stderr)) if wanted}
    chosen = [
        (last, first, text)
        for last, first, stream, text in sorted(lines) + rest
        if stream in streams
        and (options.since is None or BEGIN + 10 * last >= options.since)
        and (options.until is None or BEGIN + 10 * last <= options.until)
    ]
    if options.tail is not None:
        kept = sorted(last for last, _, _ in chosen)[max(0, len(chosen) - options.tail) :]
        chosen = [each for each in chosen if each[0] in kept]
    stamps = options.timestamps
    return [f"{stamp(first)} ".encode() * (stamps and bool(text)) + text for _, first, text in chosen if text]


def read_all(path: Path, options: LogOptions) -> bytes:
    log = LogFile(str(path), options)
    try:
        log.begin()
        pieces = []
        at_end = False
        while not at_end:
            text, at_end = log.read()
            pieces.append(text)
        return b"".join([*pieces, log.finish()])
    finally:
        log.close()


@given(PARTS, st.integers(1, 40))
def test_a_log_in_pieces_of_any_length(parts: Parts, size: int) -> None:
    lines = LogLines(Selection(LogOptions()), timestamps=False)
    data = written(parts)
    output = [lines.feed(data[at : at + size]) for at in range(0, len(data), size)]
    whole = b"".join(expected(parts, LogOptions()))
    # What has no end comes last, in the order in which the streams have begun.
    assert sorted(b"".join([*output, lines.finish()])) == sorted(whole)
    assert whole.startswith(b"".join(output))


@given(
    PARTS,
    st.builds(
        LogOptions,
        tail=st.none() | st.integers(0, 12),
        since=st.none() | st.integers(-1, 41).map(lambda number: BEGIN + 10 * number - 5.0),
        until=st.none() | st.integers(-1, 41).map(lambda number: BEGIN + 10 * number - 5.0),
        timestamps=st.booleans(),
        stdout=st.booleans(),
        stderr=st.booleans(),
    ),
    st.integers(100, 400),
)
def test_what_is_asked_for_of_a_file(
    tmp_path_factory: pytest.TempPathFactory, parts: Parts, options: LogOptions, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(written(parts))
    with mock.patch.object(log_file, "CHUNK", chunk), mock.patch.object(log_file, "HEAD_LIMIT", 100):
        found = read_all(path, options)
    whole = b"".join(expected(parts, options))
    assert sorted(found) == sorted(whole)
    ended = whole[: whole.rfind(b"\n") + 1]
    assert found.startswith(ended)


def test_a_piece_of_a_file_may_begin_anywhere_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "any.log"
    path.write_bytes(written([("stdout", True, b"%d" % number) for number in range(12)]))
    for chunk in range(100, 200):
        with mock.patch.object(log_file, "CHUNK", chunk):
            assert read_all(path, LogOptions(tail=7)) == b"5\n6\n7\n8\n9\n10\n11\n"


def test_what_is_too_new_is_not_too_old(tmp_path: Path) -> None:
    path = tmp_path / "any.log"
    path.write_bytes(written([("stdout", True, b"%d" % number) for number in range(30)]))
    with mock.patch.object(log_file, "CHUNK", 200):
        assert read_all(path, LogOptions(since=BEGIN + 15.0, until=BEGIN + 35.0)) == b"2\n3\n"


def test_lines_are_looked_for_at_the_end_of_a_very_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "any.log"
    path.write_bytes(written([("stdout", True, b"%d" % number) for number in range(100)]))
    monkeypatch.setattr(log_file, "CHUNK", 200)
    monkeypatch.setattr(log_file, "SEARCH_LIMIT", 500)
    assert read_all(path, LogOptions(tail=50)).split() == [b"%d" % number for number in range(87, 100)]
    assert read_all(path, LogOptions(tail=50, stdout=False)) == b""


@given(st.binary(max_size=300))
def test_anything_else_gives_nothing_and_no_error(data: bytes) -> None:
    lines = LogLines(Selection(LogOptions()), timestamps=True)
    assert lines.feed(data) + lines.finish() == b""
    assert lines.feed(b"\n" + written([("stdout", True, b"x")])).endswith(b" x\n")


def test_heads() -> None:
    found = head(b"2026-01-02T03:04:05.5+02:00 stderr P:other:more text", 0)
    assert found is not None
    assert (found.stream, found.ends, found.text) == (b"stderr", False, 48)
    assert found.seconds() == 1767315845.5
    assert head(b"2026-01-02T03:04:05Z stdout F", 0) is not None
    impossible = head(b"2026-13-02T03:04:05Z stdout F x", 0)
    assert impossible is not None and impossible.seconds() is None
    assert not Selection(LogOptions(since=0.0)).within(impossible)
    for other in (b"2026-01-02 stdout F x", b"2026-01-02T03:04:05Z stdin F x", b"2026-01-02T03:04:05Z stdout X x"):
        assert head(other, 0) is None


def test_a_very_long_line_is_passed_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_format, "HELD_LIMIT", 100)
    begin = f"{stamp(0)} stdout ".encode()
    lines = LogLines(Selection(LogOptions(stderr=False)), timestamps=True)
    assert lines.feed(begin + b"F " + b"x" * 200) == f"{stamp(0)} ".encode() + b"x" * 200
    assert lines.feed(b"y" * 200) == b"y" * 200
    assert lines.feed(b"z\n") == b"z\n"
    # In parts of its own, and beside one of the other stream, of which nothing is wanted, and one that is no line.
    assert lines.feed((begin + b"P " + b"x" * 60 + b"\n") * 2) == f"{stamp(0)} ".encode() + b"x" * 120
    assert lines.feed(begin.replace(b"stdout", b"stderr") + b"F " + b"e" * 200) == b""
    assert lines.feed(b"e" * 20 + b"\n" + b"?" * 200) == b""
    assert lines.feed(begin + b"F no\n" + begin + b"F end\n") == b"end\n"


# --- the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(written([("stdout", True, b"one"), ("stderr", False, b"tw")]))
    return path


@pytest.fixture
def followed(path: Path) -> Iterator[LogFile]:
    log = LogFile(str(path), LogOptions(follow=True))
    log.begin()
    assert drained(log) == b"one\n"
    yield log
    log.close()


def drained(log: LogFile) -> bytes:
    """What there is; looked for twice, as whoever follows does."""
    output = b""
    for _ in range(2):
        at_end = False
        while not at_end:
            text, at_end = log.read()
            output += text
    return output


def append(path: Path, *parts: tuple[str, bool, bytes]) -> None:
    with path.open("ab") as file:
        file.write(written(parts))


def test_one_that_is_renamed_is_read_to_its_end(path: Path, followed: LogFile) -> None:
    old = path.rename(path.with_name("0.log.1"))
    append(old, ("stdout", True, b"late"))
    assert drained(followed) == b"late\n"
    append(path, ("stderr", True, b"o"), ("stdout", True, b"new"))
    append(old, ("stdout", True, b"later"))
    assert drained(followed) + drained(followed) == b"later\ntwo\nnew\n"
    path.unlink()
    assert drained(followed) == b""
    append(path, ("stdout", True, b"another"))
    assert drained(followed) + drained(followed) == b"another\n"


def test_one_that_is_emptied_is_read_from_its_beginning(path: Path, followed: LogFile) -> None:
    os.truncate(path, 0)
    append(path, ("stdout", True, b"new"))
    assert drained(followed) == b"new\n"


def test_one_that_comes_later(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "late.log"), LogOptions(follow=True, tail=1))
    log.begin()
    assert log.read() == (b"", True)
    append(tmp_path / "late.log", ("stdout", True, b"one"), ("stdout", True, b"two"))
    assert drained(log) == b"one\ntwo\n"
    log.close()


def test_one_that_grows_while_it_is_read(path: Path) -> None:
    """Whoever does not follow it gets what there was: else one that is written fast enough would have no end."""
    log = LogFile(str(path), LogOptions(tail=1, stderr=False))
    log.begin()
    append(path, ("stdout", True, b"two"))
    assert drained(log) == b"one\n"
    log.close()


def test_one_that_is_closed_while_it_is_read(path: Path) -> None:
    log = LogFile(str(path), LogOptions())
    log.begin()
    read = os.pread

    def interrupted(file: int, size: int, offset: int) -> bytes:
        log.close()
        return read(file, size, offset)  # it is open still

    with mock.patch.object(os, "pread", interrupted):
        assert log.read()[0] == b"one\n"
    assert log.read() == (b"", True)
    assert not [each for each in os.scandir("/proc/self/fd") if os.path.realpath(each.path) == str(path)]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "relative", "nul"])
def test_what_is_no_log(tmp_path: Path, path: Path, kind: str) -> None:
    bad = tmp_path / "bad"
    match kind:
        case "link":
            bad.symlink_to(path)
        case "pipe":
            os.mkfifo(bad)
        case "folder":
            bad.mkdir()
    name = {"relative": "0.log", "nul": "/0\0"}.get(kind, str(bad))
    with pytest.raises(RuntimeFailed):
        LogFile(name, LogOptions()).begin()


def test_a_file_that_the_kernel_does_not_read() -> None:
    log = LogFile("/proc/self/mem", LogOptions(follow=True))  # there is nothing at its beginning
    log.begin()
    with pytest.raises(RuntimeFailed):
        log.read()
    log.close()
