"""Files that must survive a power cut: whole old content or whole new content, never a mixture.

Every function here blocks (fsync takes milliseconds on flash): call them in a thread.
"""

import os
import re
import secrets
import stat
from pathlib import Path

PathLike = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


class FileTooLarge(Exception):
    """The file holds more bytes than its reader allows."""

    def __init__(self, path: PathLike, limit: int) -> None:
        super().__init__(f"{os.fspath(path)} is larger than {limit} bytes")
        self.path = Path(path)
        self.limit = limit


class NotARegularFile(Exception):
    """The path names a directory, device, pipe or socket where a file was expected."""

    def __init__(self, path: PathLike) -> None:
        super().__init__(f"{os.fspath(path)} is not a regular file")
        self.path = Path(path)


def write_atomic(path: PathLike, data: bytes, *, mode: int = 0o600) -> None:
    """
    Put `data` at `path` so that a reader or a crash at any moment sees the old or the new content.

    The permissions are exactly `mode` whatever the umask, and never wider on the way. A symbolic link at
    `path` is replaced, not followed. Durable on return. Raises `OSError`: the content is then the old, or the
    new when only the directory could not be synced.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(target.parent)


def remove_temporaries(folder: PathLike) -> None:
    """
    Delete what `write_atomic` left in `folder` when it was killed: it may hold secrets.

    For the start, before anybody writes there. Raises `OSError`.
    """
    for path in Path(folder).glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def fsync_directory(path: PathLike) -> None:
    """Make the names in the directory `path` durable (fsync(2): syncing a file does not sync its entry)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: PathLike, destination: PathLike) -> None:
    """
    Rename `source` over `destination` and make both names durable.

    The content of `source` must be synced already. Both lie on one file system, else `OSError` (EXDEV).
    """
    old_parent, new_parent = Path(source).parent, Path(destination).parent
    os.rename(source, destination)
    fsync_directory(new_parent)
    if old_parent.resolve() != new_parent.resolve():
        fsync_directory(old_parent)


def read_limited(path: PathLike, limit: int) -> bytes:
    """
    The content of the regular file `path`, at most `limit` bytes.

    Raises `FileTooLarge`, `NotARegularFile` (a pipe would block its reader for ever) or `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotARegularFile(path)
        content = bytearray()
        while len(content) <= limit:
            chunk = os.read(descriptor, min(limit + 1 - len(content), 1 << 20))
            if not chunk:
                return bytes(content)
            content += chunk
        raise FileTooLarge(path, limit)
    finally:
        os.close(descriptor)
