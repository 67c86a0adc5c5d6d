"""Which file systems there are and how full they are, asked in threads: one of a dead server keeps nobody waiting."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import TimeoutError

from appliance.host.shared import Shared
from appliance.host.storage.assembly import tables_of
from appliance.host.storage.tables import Mount, read_mounts
from appliance.host.storage.usage import Space, Usage
from appliance.process.reactor import within
from appliance.threads import Threads

LIST_SECONDS = 10.0
"""How old the list of mounts may be."""
WAIT = 0.5
_SHOWN = 64
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "fuse.glusterfs", "fuse.sshfs"})
_POOLED = frozenset({"zfs", "bcachefs"})
_ALWAYS_FULL = frozenset({"squashfs", "erofs", "iso9660"})


class FileSystems:
    """The mounted file systems that hold somebody's files, and their space."""

    def __init__(self, reactor: Any, threads: Threads) -> None:
        self._reactor = reactor
        self._threads = threads
        self._usage = Usage(reactor, threads, WAIT)
        self._mounts: Sequence[Mount] = ()
        self._listed_at: float | None = None
        self._listing = Shared(self._list)

    async def measure(self) -> tuple[Sequence[Mount], Mapping[str, Space]]:
        """The mounts, and by mount point the space of those that have answered; waits for a second at most."""
        if self._listed_at is None or not 0 <= self._reactor.seconds() - self._listed_at < LIST_SECONDS:
            with suppress(TimeoutError):  # what was mounted before is told until it is read
                await within(self._reactor, WAIT, self._listing.result())
        return self._mounts, await self._usage.measure(mount.mount_point for mount in self._mounts)

    async def _list(self) -> None:
        self._mounts = await self._threads.run(_read)
        self._listed_at = self._reactor.seconds()


def worth_showing(mounts: Sequence[Mount]) -> list[Mount]:
    """One mount of each file system on a disk, a pool or a network; in a container its root as well."""
    found = [each[0] for each in tables_of([mount for mount in mounts if _holds_files(mount)], []).mounts.values()]
    return sorted(found, key=lambda mount: mount.mount_point)[:_SHOWN]


def _holds_files(mount: Mount) -> bool:
    if mount.filesystem in _ALWAYS_FULL:
        return False
    return (
        mount.source.startswith("/dev/")
        or mount.filesystem in _NETWORK
        or mount.filesystem in _POOLED
        or (mount.filesystem == "overlay" and mount.mount_point == "/")
    )


def _read() -> list[Mount]:
    return worth_showing(read_mounts())
