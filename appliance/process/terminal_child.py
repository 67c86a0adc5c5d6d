"""
The program that becomes the one on a terminal: a program of its own, started as `python -I -S FILE …`.

    terminal_child.py UID GID GROUPS DIRECTORY PROGRAM ARGV0 [ARGUMENT…]

Its standard input, output and error are the terminal. It makes that its controlling one, in a session of its own, puts
on the identity (`-` for UID, GID and the comma-separated GROUPS: as we are), gives up what belongs to the server (mode
mask, limits, signals, protection from the kernel's memory killer), goes to DIRECTORY or to / and executes PROGRAM with
its environment as it is. What goes wrong is said on the terminal; the exit code is then 126 or 127, as a shell's.

It is a program because only a process can do this to itself, and a fork of the server, which has threads, must not ask
the name service or allocate memory before it executes something (pthread_atfork(3), "The intent").
"""

import contextlib
import fcntl
import os
import resource
import signal
import sys
import termios
from collections.abc import Sequence

UMASK = 0o022
OPEN_FILES = 1024
"""The soft limit of descriptors: programs that use select(2) fail with more (systemd.exec(5), LimitNOFILE)."""

_SHIELD = "/proc/self/oom_score_adj"
_CANNOT_EXECUTE = 126
_NOT_FOUND = 127


def main(arguments: Sequence[str]) -> int:
    """Become the program; return the exit code where that fails."""
    try:
        return _become(*arguments)
    except OSError as error:
        _say(f"No terminal: {error.strerror}")
        return _CANNOT_EXECUTE


def _become(uid: str, gid: str, groups: str, directory: str, program: str, *argv: str) -> int:
    signals = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    for number in signals:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    os.umask(UMASK)
    _leave_shield()
    _reset_limits()
    if uid != "-":
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
    try:
        os.chdir(directory)
    except OSError as error:
        os.chdir("/")
        os.environ["HOME"] = "/"  # as login(1)
        _say(f"{directory}: {error.strerror}. Logging in with HOME=/.")
    # Last, for from now on what is typed can send us signals.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.execve(program, argv, os.environ)  # noqa: S606 - no shell in between is the point
    except OSError as error:
        _say(f"{program}: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def _leave_shield() -> None:
    """The server may be protected from the kernel's memory killer (systemd's OOMScoreAdjust); a user is not."""
    with contextlib.suppress(OSError), open(_SHIELD, "r+") as file:
        if int(file.read()) < 0:
            file.seek(0)
            file.write("0")


def _reset_limits() -> None:
    """Take the limits of the first process, as pam_limits(8) does before it applies its rules.

    Where hard limits cannot be raised (some containers, and without root) those that we have bound them; where the
    first process may not be asked, they stay as they are.
    """
    for number in {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}:
        with contextlib.suppress(OSError):
            soft, hard = resource.prlimit(1, number)
            if number == resource.RLIMIT_NOFILE:
                soft = _lower(soft, OPEN_FILES)
            try:
                resource.setrlimit(number, (soft, hard))
            except ValueError:  # the kernel's EPERM
                _, ours = resource.getrlimit(number)
                resource.setrlimit(number, (_lower(soft, ours), _lower(hard, ours)))


def _lower(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
