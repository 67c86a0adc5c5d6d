"""Spawning without asking about each open descriptor.

Before each `posix_spawn` Twisted lists /proc/self/fd and asks each descriptor whether it is close-on-exec,
so as to close those that are not: with 2 000 connections open that is 2 ms in which the reactor serves
nobody. Every descriptor that Python makes is close-on-exec already (PEP 446), and so are those of SQLite
and OpenSSL. What remains are descriptors inherited from whoever started this process (systemd's sockets, an
administrator's shell): those are marked here, once.
"""

import fcntl
import os

from twisted.internet import process

_STANDARD = (0, 1, 2)


def trust_close_on_exec() -> None:
    """
    Make spawning cost the same however many descriptors are open. Call once, at the start of the server.

    Marks every open descriptor above 2 close-on-exec, then tells Twisted that there are only 0, 1 and 2.
    This is for the whole Python process and reaches into a private name of Twisted: raises `RuntimeError`
    where that is gone.
    """
    if not callable(getattr(process, "_listOpenFDs", None)):
        raise RuntimeError("Twisted has no process._listOpenFDs any more: see how it closes descriptors now")
    for descriptor in _open_descriptors():
        _close_on_exec(descriptor)
    process._listOpenFDs = lambda: list(_STANDARD)


def duplicate_above(descriptor: int, lowest: int) -> int:
    """
    A close-on-exec copy of `descriptor` with a number of at least `lowest`; the caller closes it.

    A descriptor handed to a child must not have the number it gets there: Twisted would then look it up in
    the list that `trust_close_on_exec` shortens.
    """
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _open_descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd") if int(name) not in _STANDARD]


def _close_on_exec(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return  # the one that listed the directory, closed since
