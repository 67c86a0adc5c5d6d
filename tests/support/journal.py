"""Real journal files, written by systemd-journal-remote, and journalctl's own opinion on them."""

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"
BASE = 1_760_000_000_000_000
"""2025-10-09 08:53:20 UTC, in microseconds since 1970."""

SECOND = 1_000_000
PLAIN = {"_HOSTNAME": "probe", "_TRANSPORT": "syslog"}
_FIRST_BOOT = "0123456789abcdef0123456789abcdef"

Value = str | bytes | list[bytes]


def record(at: int, fields: Mapping[str, Value], boot: str = _FIRST_BOOT) -> bytes:
    """An entry in the Journal Export Format, received at `at` (microseconds since 1970); a list gives a field twice."""
    lines = [b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n" % (at, at - BASE + 1, boot.encode())]
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            raw = each if isinstance(each, bytes) else each.encode()
            if raw.isascii() and raw.decode().isprintable():
                lines.append(name.encode() + b"=" + raw + b"\n")
            else:
                lines.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
    return b"".join(lines) + b"\n"


def numbered(first: int, count: int, step: int = SECOND, **more: Value) -> Iterable[bytes]:
    """`count` entries `message number N` from N = `first` on: unit `u0` to `u2`, priority 0 to 7, by turns."""
    for number in range(first, first + count):
        fields = {
            **PLAIN,
            "MESSAGE": f"message number {number}",
            "PRIORITY": str(number % 8),
            "_SYSTEMD_UNIT": f"u{number % 3}.service",
            "SYSLOG_IDENTIFIER": f"app{number % 3}",
            "_PID": str(100 + number % 5),
        }
        yield record(BASE + number * step, fields | more)


def append(file: Path, records: Iterable[bytes]) -> None:
    """Add entries to a journal file, which is made where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    argv = [JOURNAL_REMOTE, f"--output={file}", "-"]
    subprocess.run(argv, input=b"".join(records), check=True, capture_output=True, timeout=120)


def messages(directory: Path, *arguments: str) -> list[str]:
    """What journalctl itself finds, newest first; for messages of one line."""
    argv = ["journalctl", "-q", "--no-pager", "-r", "-o", "cat", f"--directory={directory}", *arguments]
    finished = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
    return finished.stdout.splitlines()


def half_linked(file: Path, message: str) -> Callable[[Path], None]:
    """
    Put a file into the state in which a writer has it for a moment: the entry with that message, which no other has,
    is there, and the message knows its first entry, but not yet that it has one. Returns what ends that state,
    wherever the file is then.
    """
    data = file.read_bytes()
    found = data.index(b"MESSAGE=" + message.encode())
    # systemd's "Journal File Format": in the header incompatible_flags at 12; in a DataObject, whose payload begins at
    # 64, in a compact file at 72, n_entries at 56.
    place = found - (72 if int.from_bytes(data[12:16], "little") & 16 else 64) + 56
    count = data[place : place + 8]
    assert int.from_bytes(count, "little") == 1
    _overwrite(file, place, bytes(8))
    return lambda path: _overwrite(path, place, count)


def _overwrite(file: Path, place: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(data)


class Writer:
    """A journal file that is being written: what `write` is given is found at once by who follows."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [JOURNAL_REMOTE, f"--output={file}", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def write(self, records: Iterable[bytes]) -> None:
        """Add entries."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(records))
        self._process.stdin.flush()

    def close(self) -> None:
        """Return when all has been written. May be called again."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(120) == 0
