"""
Ends what a process has left that was killed, see `remains.py`.

Stand-alone on purpose: standard library only, started as `python -I -S remains_child.py` when that process is gone.
Descriptor 3 is the table: rows of three native unsigned 64-bit numbers, the inode of a pipe, a pid and a start time.

A row without a pid is of a process that was just being started: all that hold its pipe are killed. The others lead
groups, which get TERM, and KILL two seconds later or as soon as the leader is gone, as they would have got from who
started them. The number of a group is nobody else's while one of its members lives.
"""

import contextlib
import os
import signal
import struct
import time
from collections.abc import Iterator

TABLE = 3
GRACE = 2.0
LOOK_AGAIN = 0.05

Mark = tuple[int, int]
"""A pid and the start time of its process (ticks since boot): the number may be given again, but not with the same."""


def main() -> None:
    """End all that is in the table."""
    rows = list(struct.iter_unpack("@QQQ", os.pread(TABLE, os.fstat(TABLE).st_size, 0)))
    pipes = {f"pipe:[{inode}]" for inode, pid, _ in rows if inode and not pid}
    groups = {pid: list(members(pid)) for inode, pid, start in rows if inode and pid and alive((pid, start))}
    for leader in groups:
        signal_group(leader, signal.SIGTERM)
        signal_group(leader, signal.SIGCONT)
    deadline = time.monotonic() + GRACE
    while pipes or groups:
        kill_holders(pipes)
        over = time.monotonic() > deadline
        for leader, marks in list(groups.items()):
            if over or not any(mark[0] == leader and alive(mark) for mark in marks):
                if any(alive(mark) for mark in marks):
                    signal_group(leader, signal.SIGKILL)
                del groups[leader]
        if over:
            return
        time.sleep(LOOK_AGAIN)


def members(group: int) -> Iterator[Mark]:
    """The processes of a group."""
    for pid in processes():
        fields = stat(pid)
        if fields is not None and int(fields[2]) == group:
            yield pid, int(fields[19])


def kill_holders(pipes: set[str]) -> None:
    """Kill every process that has one of these pipes open."""
    for pid in processes() if pipes else ():
        with contextlib.suppress(OSError):  # it has ended
            if any(os.readlink(f"/proc/{pid}/fd/{each}") in pipes for each in os.listdir(f"/proc/{pid}/fd")):
                os.kill(pid, signal.SIGKILL)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a group, or the one who has not come to make it yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            os.kill(leader, number)


def alive(mark: Mark) -> bool:
    """Whether it still runs; a zombie does not."""
    fields = stat(mark[0])
    return fields is not None and fields[0] not in (b"Z", b"X") and int(fields[19]) == mark[1]


def processes() -> list[int]:
    """The pids of all but this one."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def stat(pid: int) -> "list[bytes] | None":
    """The fields after the name in /proc/PID/stat (proc(5)): state, parent, group, ..., the 20th is the start time."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


if __name__ == "__main__":
    main()
