"""Whether somebody besides root could change what is run as root."""

import os
import stat
from collections import deque
from collections.abc import Iterator

_LINK_LIMIT = 40  # as in the kernel, path_resolution(7)


def trouble_with(path: str) -> str | None:
    """
    Why the absolute `path` is not safe to run: a file or directory on the way to it, or a link, that users other than
    root and ourselves own or may write to. None where there is no such thing. Raises `OSError`.
    """
    trusted = (0, os.geteuid())
    for place, status in _on_the_way(path):
        if status.st_uid not in trusted:
            return f"{place} belongs to uid {status.st_uid}"
        if stat.S_ISLNK(status.st_mode):
            continue  # whether somebody else can replace it is a matter of its directory
        open_to = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid != 0 else 0)
        # In a sticky directory, such as /tmp, only the owner of an entry replaces it, and that is checked next.
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & open_to and not sticky:
            return f"users other than root may write to {place}"
    return None


def _on_the_way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every directory and link that is passed from `/` to `path`, and what it leads to."""
    here = "/"
    yield here, os.lstat(here)
    left = deque(path.split("/"))
    links = 0
    while left:
        part = left.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        inner = os.path.join(here, part)
        status = os.lstat(inner)
        yield inner, status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINK_LIMIT:
                raise OSError(f"{path}: too many links")
            target = os.readlink(inner)
            here = "/" if target.startswith("/") else here
            left.extendleft(reversed(target.split("/")))
        else:
            here = inner
