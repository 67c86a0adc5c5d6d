"""A plugin's file: whether it may be run, and by what it is known again."""

import os
import re
import stat
import time
from dataclasses import dataclass

from appliance.host.ownership import trouble_with
from appliance.rpc.plugins.shebang import HEAD, python_command

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
"""Names of plugins. Editors' and package managers' leftovers (`x~`, `.x.swp`, `x.dpkg-new`) are none."""

_LEFTOVER = re.compile(r".*\.(dpkg-(new|old|dist|tmp)|rpm(new|save|orig))")

_SETTLED = 0.1
"""Seconds after which a change of a file shows in its times for sure; the kernel's clock for them is coarse."""

Mark = tuple[int, ...]
"""What differs between two states of a file and its directory."""


class Unfit(Exception):
    """A file that is no plugin. With `dangerous` it would be one, but running it is not safe."""

    def __init__(self, why: str, *, dangerous: bool = False) -> None:
        super().__init__(why)
        self.dangerous = dangerous


@dataclass(frozen=True, slots=True)
class Found:
    """
    A file that may be run.

    `python` is the command that runs it where it is a Python script, see `shebang`. With `settled` false it was
    changed at the very moment it was looked at: it may change again and bear the same mark.
    """

    name: str
    path: str
    mark: Mark
    settled: bool
    python: tuple[str, ...] | None


def is_name(name: str) -> bool:
    """Whether a plugin may have this name."""
    return NAME.fullmatch(name) is not None and _LEFTOVER.fullmatch(name) is None


def mark_of(directory: str, name: str) -> Mark:
    """The mark of `name` in `directory`, in microseconds. Raises `OSError` where it does not exist."""
    file, folder = os.stat(f"{directory}/{name}"), os.stat(directory)
    return (
        *(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns),
        *(folder.st_dev, folder.st_ino, folder.st_mode, folder.st_uid, folder.st_gid),
    )


def examine(directory: str, name: str) -> Found:
    """
    Look at a file closely (it blocks: call it in a thread). Raises `Unfit` and `OSError`.

    Running as root, what others could change is refused: file, directories and links on the way.
    """
    path = f"{directory}/{name}"
    mark = mark_of(directory, name)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise Unfit("it is not a regular file")
    if not os.access(path, os.X_OK):
        raise Unfit("it is not executable")
    if os.geteuid() == 0:
        trouble = trouble_with(path)
        if trouble is not None:
            raise Unfit(trouble, dangerous=True)
    with open(path, "rb", buffering=0) as file:
        head = file.read(HEAD)
    settled = abs(time.time() - status.st_ctime) > _SETTLED
    return Found(name, path, mark, settled, python_command(head))


def names_in(directory: str) -> list[str]:
    """The names in `directory` that plugins may have; none where it does not exist. Raises `OSError`."""
    try:
        return sorted(filter(is_name, os.listdir(directory)))
    except (FileNotFoundError, NotADirectoryError):
        return []
