"""What tests about processes look at: who is alive, and whether anything was left behind."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater

reactor: Any = global_reactor


def all_processes() -> list[int]:
    """The pids of all that run on this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(parent: int | None = None) -> list[int]:
    """The pids whose parent is `parent` (this process unless given), zombies among them."""
    parent = os.getpid() if parent is None else parent
    found = []
    for pid in all_processes():
        fields = _stat(pid)
        if fields is not None and int(fields[1]) == parent:
            found.append(pid)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in (b"Z", b"X")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Block until `condition` gives something true, and return that."""
    for _ in range(3000):
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Like `wait_for`, with the reactor running."""
    for _ in range(1500):
        value = condition()
        if value:
            return value
        await deferLater(reactor, 0.02)
    raise AssertionError(f"waited in vain for {what}")


def shown_of(pid: int) -> bytes:
    """What a process shows of itself to others: its command line and its environment."""
    try:
        return b"\0".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    except OSError:  # it has just ended
        return b""


def number_in(path: Path) -> int:
    """The number a child wrote there, 0 until it has."""
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def memory_of(pid: int) -> int:
    """The bytes that a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"{pid} has none")


def descriptors_of(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def command_lines(words: str) -> dict[int, str]:
    """The processes that have `words` in their command lines."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = (
                    Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                )
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words in line:
                found[int(name)] = line
    return found


def _stat(pid: int) -> list[bytes] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
