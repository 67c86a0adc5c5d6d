"""The journal's files: whether there are any, and what has become of them since the last look."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDERS = (Path("/var/log/journal"), Path("/run/log/journal"))
MACHINE_ID = Path("/etc/machine-id")

_SIGNATURE = b"LPKSHHRH"
_HEADER_SIZE = 208
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JournalFile:
    """How many entries a file holds, and whose sequence numbers they bear."""

    entries: int
    sequence: bytes


JournalFiles = Mapping[bytes, JournalFile]
"""The files by their ids, which no two ever share."""


def scan(directory: Path | None) -> JournalFiles:
    """
    Read the head of each journal file: in `directory`, or where journalctl looks by itself.

    A file is renamed when it is full, and deleted when space runs short; entries are only ever added. Blocking.
    """
    found = {}
    for path in _paths(directory):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:  # deleted meanwhile, or not for us to read, and then not for journalctl either
            continue
        try:
            head = os.read(descriptor, _HEADER_SIZE)
        except OSError:  # a folder
            continue
        finally:
            os.close(descriptor)
        # Header, systemd's "Journal File Format": file_id at 24, seqnum_id at 72, n_entries at 152.
        if head.startswith(_SIGNATURE) and len(head) == _HEADER_SIZE:
            found[head[24:40]] = JournalFile(int.from_bytes(head[152:160], "little"), head[72:88])
    return found


def _paths(directory: Path | None) -> Iterator[str]:
    """The files that journalctl would open: in the folders themselves and in those named by a machine's id."""
    local = None if directory is not None else _machine_id()
    for folder in DEFAULT_FOLDERS if directory is None else (directory,):
        for entry in _entries(folder):
            if entry.name.endswith((".journal", ".journal~")):
                yield entry.path
            elif _ID.fullmatch(entry.name) and local in (None, entry.name):
                yield from (each.path for each in _entries(entry) if each.name.endswith((".journal", ".journal~")))


def _entries(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _machine_id() -> str:
    try:
        return MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
