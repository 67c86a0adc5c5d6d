"""What a directory holds, to show that nothing in it has changed."""

import stat
import time
from pathlib import Path

Snapshot = dict[str, tuple[int, bytes]]


def snapshot(directory: Path, without: tuple[str, ...] = ("log", "tmp/restore.lock")) -> Snapshot:
    """Each file and folder below `directory` with its mode and content, but for the paths `without`."""
    found: Snapshot = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if any(name.is_relative_to(left_out) for left_out in without):
            continue
        try:
            mode = path.lstat().st_mode
            found[str(name)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else b"")
        except FileNotFoundError:
            found[str(name)] = (0, b"it went while it was read")
    return found


def assert_unchanged(directory: Path, before: Snapshot, seconds: float = 10.0) -> None:
    """The directory is as it was, or becomes so: half-received files are deleted after the answer."""
    deadline = time.monotonic() + seconds
    while snapshot(directory) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    after = snapshot(directory)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, changed
