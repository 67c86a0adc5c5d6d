"""Notices that devices, mounts or swap areas have changed, without a watcher that wakes an idle server.

The kernel keeps what has happened until it is asked: uevents in a socket, the change of a table as a priority event of
poll(2) on its file (proc(5), `/proc/[pid]/mounts`). One epoll descriptor over the three answers "anything new?" in a
microsecond, so it is asked at each use, and there is no moment between an event and its handler.
"""

import contextlib
import select
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from appliance.host.storage.tables import MOUNTS, SWAPS

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL, _UDEV = 1, 2  # groups; udev's come later and bring what it has found on the device
_MESSAGE_LIMIT = 16 * 1024
_MESSAGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Changed:
    """What may have changed since the last question."""

    devices: bool
    tables: bool


NOTHING = Changed(devices=False, tables=False)
EVERYTHING = Changed(devices=True, tables=True)


class Changes:
    """Listens from its making until `close`. `hears_devices` is false where the kernel refuses to tell of them."""

    _log = Logger()

    def __init__(self) -> None:
        """Raises OSError where the kernel's tables cannot be read."""
        self._epoll = select.epoll()
        self._tables: list[BinaryIO] = []
        self._uevents: socket.socket | None = None
        try:
            for path in (MOUNTS, SWAPS):
                self._watch_table(path)
        except BaseException:
            self.close()
            raise
        try:
            self._uevents = _uevent_socket()
        except OSError as error:
            self._log.warn("No word of devices that come and go, so they are looked at often: {error}", error=error)
        else:
            self._epoll.register(self._uevents.fileno(), select.EPOLLIN)
        self.hears_devices = self._uevents is not None

    def close(self) -> None:
        """Stop listening."""
        self._epoll.close()
        for table in self._tables:
            table.close()
        if self._uevents is not None:
            self._uevents.close()

    def look(self) -> Changed:
        """What has changed since the last look, or since the beginning."""
        ready = {descriptor for descriptor, _ in self._epoll.poll(0)}
        if not ready:
            return NOTHING
        uevents = self._uevents
        return Changed(
            devices=uevents is not None and uevents.fileno() in ready and self._devices_changed(uevents),
            tables=any(table.fileno() in ready for table in self._tables),
        )

    def _watch_table(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            file = path.open("rb", buffering=0)
            self._tables.append(file)
            self._epoll.register(file.fileno(), select.EPOLLPRI)

    def _devices_changed(self, uevents: socket.socket) -> bool:
        changed = False
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                message, (_, groups) = uevents.recvfrom(_MESSAGE_LIMIT)
            except BlockingIOError:
                return changed
            except OSError:  # ENOBUFS: more has happened than the socket could hold
                return True
            changed = changed or (groups != 0 and b"SUBSYSTEM=block\0" in message)
        return True  # the rest is read next time


def _uevent_socket() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    uevents = socket.socket(socket.AF_NETLINK, kind, _NETLINK_KOBJECT_UEVENT)
    try:
        uevents.bind((0, _KERNEL | _UDEV))
    except BaseException:
        uevents.close()
        raise
    return uevents
