"""What is mounted and what is swapped to, from the tables of the kernel. Everything here reads files: short, but many.

The forms are those of proc(5).
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
SWAPS = Path("/proc/swaps")

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount; `root` is the part of the file system that is seen there, `number` the device it lies on.

    The number is that of the block device where there is one, also for file systems that have a number of their own.
    """

    number: str
    root: str
    mount_point: str
    filesystem: str
    source: str


@dataclass(frozen=True, slots=True)
class Swap:
    """An area that is swapped to; sizes in bytes, `number` the device's, or "" for a file."""

    path: str
    number: str
    size: int
    used: int


def read_mounts(path: Path = MOUNTS) -> list[Mount]:
    """The mounts of a mount namespace, the lowest first. Raises OSError."""
    return parse_mounts(path.read_text(errors="surrogateescape").splitlines())


def parse_mounts(lines: Iterable[str]) -> list[Mount]:
    """The mounts in the lines of a mountinfo file."""
    found = []
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 2:
            continue
        source = _plain(rest[1])
        # btrfs and FUSE show a number without a device; their source names it.
        number = device_number(source) if fields[2].startswith("0:") and source.startswith("/dev/") else ""
        found.append(Mount(number or fields[2], _plain(fields[3]), _plain(fields[4]), rest[0], source))
    return found


def read_swaps(path: Path = SWAPS) -> list[Swap]:
    """The areas that are swapped to; none where the kernel cannot swap. Raises OSError."""
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines[1:]:
        name, kind, size, used, *_ = line.rsplit(maxsplit=4)
        name = _plain(name)
        number = device_number(name) if kind == "partition" else ""
        found.append(Swap(name, number, int(size) * 1024, int(used) * 1024))
    return found


def device_number(path: str) -> str:
    """`MAJOR:MINOR` of the device `path`, or "" where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if status.st_rdev else ""


def printable(path: str) -> str:
    """A path of these tables as text: bytes that are not UTF-8 become replacement characters."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _plain(text: str) -> str:
    """Undo the kernel's escapes of blanks, tabs, line ends and backslashes: `\\040`."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text) if "\\" in text else text
