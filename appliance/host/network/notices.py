"""Notices that links or addresses have changed, without a watcher that wakes an idle server.

The kernel keeps its messages in a socket until we look, which is done at each use: a microsecond when there is nothing,
and no moment between an event and its handler. What a message says does not matter, since all is read anew after one;
so the socket's buffer is small, and a thousand changes a second cost as much as a dozen: when it is full the kernel
drops what comes and says so once (ENOBUFS), which is a notice too.
"""

import socket

_LINK, _ADDRESS_4, _ADDRESS_6 = 1, 5, 9  # groups, rtnetlink.h
_GROUPS = sum(1 << (group - 1) for group in (_LINK, _ADDRESS_4, _ADDRESS_6))
_BUFFER = 32 * 1024
_AT_ONCE = 256


class Notices:
    """Listens from its making until `close`."""

    def __init__(self) -> None:
        """Raises OSError where the kernel does not tell of changes."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, _GROUPS))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def look(self) -> bool:
        """Whether anything has changed since the last look, or since the beginning.

        The socket is emptied: only then does the kernel go on after it has dropped something.
        """
        changed = False
        for _ in range(_AT_ONCE):
            try:
                self._socket.recv(1)  # what does not fit is dropped with it
            except BlockingIOError:
                return changed
            except OSError:  # ENOBUFS
                pass
            changed = True
        return True  # the rest is taken next time
