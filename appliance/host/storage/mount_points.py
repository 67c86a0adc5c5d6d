"""Where file systems may be mounted: a path that nobody can redirect, an empty directory that the system does not need.

Everything here blocks: call it in a thread.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from typing import NoReturn

from appliance.host.errors import Conflict, Invalid

PATH_LIMIT = 4095  # PATH_MAX without the NUL
_NAME_LIMIT = 255
_DEPTH_LIMIT = 64
_FIELD = "mount_point"

_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys")
_SYSTEM_TREES = (*_TREES, "/usr")
_USER_TREE = "/run/media"
_SYSTEM_DIRECTORIES = frozenset({"/", "/root", "/tmp", "/var", "/var/log", "/var/run", "/var/tmp", "/lost+found"})  # noqa: S108 - compared


def parse(path: str) -> str:
    """`path` without needless slashes. Raises `Invalid` for what cannot be a mount point whatever the machine has."""
    if not path.startswith("/"):
        raise Invalid(_FIELD, "expected an absolute path")
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise Invalid(_FIELD, "control characters are not allowed")
    names = [name for name in path.split("/") if name]
    if "." in names or ".." in names:
        raise Invalid(_FIELD, "`.` and `..` are not allowed")
    clean = "/" + "/".join(names)
    if len(os.fsencode(clean)) > PATH_LIMIT or len(names) > _DEPTH_LIMIT:
        raise Invalid(_FIELD, "the path is too long")
    if any(len(os.fsencode(name)) > _NAME_LIMIT for name in names):
        raise Invalid(_FIELD, "a name in the path is too long")
    return clean


def is_of_the_system(path: str) -> bool:
    """Whether the machine itself needs what is mounted at `path`, or lies there."""
    if path in _SYSTEM_DIRECTORIES:
        return True
    below_media = path.startswith(_USER_TREE + "/")
    return not below_media and any(path == tree or path.startswith(tree + "/") for tree in _SYSTEM_TREES)


def prepare(path: str) -> list[str]:
    """Make sure that `path`, as `parse` returned it, is an empty directory that only root could move or replace.

    What is missing is made, with mode 755; returns what was made, for `remove`. Raises `Invalid` for links and for
    directories of other users, `Conflict` for what is no empty directory.
    """
    made: list[str] = []
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        here = ""
        for name in path.split("/")[1:]:
            outer, above = here or "/", descriptor
            here = f"{here}/{name}"
            descriptor = _enter(above, name, here, made)
            try:
                _refuse_unsafe(outer, os.fstat(above), os.fstat(descriptor))
            finally:
                os.close(above)
        _refuse_unless_empty(path, descriptor)
    except BaseException:
        remove(made)
        raise
    finally:
        os.close(descriptor)
    return made


def remove(made: Sequence[str]) -> None:
    """Remove the directories that `prepare` has made, as far as nothing has come into them."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _enter(parent: int, name: str, path: str, made: list[str]) -> int:
    """Open the directory `name` in `parent`, made if need be, never through a link."""
    try:
        return _open_directory(parent, name)
    except FileNotFoundError:
        pass
    except OSError as error:
        _refuse(path, error)
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        made.append(path)
        descriptor = _open_directory(parent, name)
        try:
            # Whatever the umask; and through the descriptor, so that it is no other directory.
            os.chmod(f"/proc/self/fd/{descriptor}", 0o755)  # noqa: S103 - others mount and work below it
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    except OSError as error:
        _refuse(path, error)


def _open_directory(parent: int, name: str) -> int:
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _refuse(path: str, error: OSError) -> NoReturn:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        if os.path.islink(path):
            raise Invalid(_FIELD, f"{path} is a symbolic link; give the path it leads to") from None
        raise Conflict(f"{path} is not a directory") from None
    raise Conflict(f"{path} cannot be used: {os.strerror(error.errno or 0)}") from None


def _refuse_unsafe(path: str, directory: os.stat_result, inner: os.stat_result) -> None:
    """Refuse a directory in which somebody else could put a link in the place of `inner`."""
    trusted = (0, os.geteuid())
    open_to = stat.S_IWOTH | (stat.S_IWGRP if directory.st_gid != 0 else 0)
    safe = directory.st_uid in trusted and not directory.st_mode & open_to
    # In a sticky directory, such as /tmp, only the owner of an entry moves it.
    safe_by_stickiness = bool(directory.st_mode & stat.S_ISVTX) and directory.st_uid in trusted
    if not safe and not (safe_by_stickiness and inner.st_uid in trusted):
        raise Invalid(_FIELD, f"users other than root could change what lies in {path}")


def _refuse_unless_empty(path: str, descriptor: int) -> None:
    try:
        with os.scandir(f"/proc/self/fd/{descriptor}") as entries:
            is_empty = next(entries, None) is None
    except OSError as error:
        _refuse(path, error)
    if not is_empty:
        raise Conflict(f"{path} is not empty: what it holds would be hidden")
