"""What must not be formatted: whatever anything uses, or might want to use again without being asked.

Three looks, each catching what the others miss: the kernel's tables, which can say what uses a device; the signatures
on it, for members of volume groups, arrays and encryptions that are not assembled just now; and a claim by O_EXCL,
which the kernel refuses for a device that is in use by anybody (open(2)): mounted in whatever mount namespace, swapped
to, part of an array, of a volume group or of a multi-device btrfs, or with such a partition, or part of such a disk.

A logical volume, an opened encryption or an array is formatted like any disk: only what it is built of is refused.
"""

import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from appliance.host.errors import Conflict, Unavailable, Unknown
from appliance.host.storage import sysfs
from appliance.host.storage.devices import Device
from appliance.host.storage.sysfs import SYSFS
from appliance.host.storage.tables import Mount, Swap, printable, read_mounts, read_swaps
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

_INIT_MOUNTS = Path("/proc/1/mountinfo")  # beside our own: in a container or a unit of systemd they differ
_PROBE_SECONDS = 20.0
_MEMBER_USAGES = frozenset({"raid", "crypto", "other"})  # libblkid's; `other` are swap areas, caches, snapshots


class _Signature(msgspec.Struct):
    type: str | None = None
    usage: str | None = None


class _Signatures(msgspec.Struct):
    signatures: list[_Signature]


class Guard:
    """Refuses what must not be formatted."""

    def __init__(self, threads: Threads, runner: ProcessRunner) -> None:
        self._threads = threads
        self._runner = runner

    async def check(self, device: Device) -> None:
        """Raise `Conflict` with the reason why `device` must not be formatted, `Unavailable` where that is unclear."""
        await self._threads.run(check_use, device)
        async with self._claimed(device):
            await self._check_signatures(device)

    @contextlib.asynccontextmanager
    async def _claimed(self, device: Device) -> AsyncIterator[None]:
        """Hold `device` against everybody else meanwhile. Raises `Conflict` where somebody has it."""
        descriptor = await self._threads.run(_open_exclusively, device)
        try:
            yield
        finally:
            await self._threads.run(os.close, descriptor)

    async def _check_signatures(self, device: Device) -> None:
        for folder in await self._threads.run(lambda: list(relatives(device))):
            path = sysfs.device_path(folder.name)
            signatures = await self._read_signatures(path)
            reason = reason_in(signatures)
            if reason:
                raise Conflict(
                    f"{path} {reason}; if nothing needs it any more, remove its signature first (wipefs --all {path})"
                )

    async def _read_signatures(self, path: str) -> Sequence[_Signature]:
        # Not blkid: it says nothing at all about a device on which it finds two signatures.
        finished = await self._runner.run(["wipefs", "-J", "-O", "TYPE,USAGE", "--", path], timeout=_PROBE_SECONDS)
        if not finished.succeeded:
            raise Unavailable(f"What lies on {path} cannot be read (wipefs: {finished.describe()})")
        return parse_signatures(finished.stdout)


def relatives(device: Device) -> Iterator[Path]:
    """The folders of the device, of the disk it is a part of, and of its own partitions. Blocking."""
    yield device.folder
    if device.is_partition:
        yield device.folder.parent
    yield from sysfs.partitions(device.folder)


def check_use(device: Device, folder: Path = SYSFS) -> None:
    """Raise `Conflict` where `device`, its disk or a partition of it is in use. Blocking."""
    if device.is_read_only:
        raise Conflict(f"{device.path} is read-only")
    if not device.size:
        raise Conflict(f"{device.path} has no medium")
    mounts = [*read_mounts(), *_mounts_of_init()]
    reasons: list[Callable[[Path], str]] = [
        lambda part: _mounted(part, mounts),
        lambda part: _swapped_to(part, read_swaps()),
        _held,
        lambda part: _behind_loop(part, folder),
        lambda part: _in_btrfs(part, folder),
    ]
    for part in relatives(device):
        for reason in reasons:
            why = reason(part)
            if why:
                raise Conflict(f"{sysfs.device_path(part.name)} {why}")


def parse_signatures(output: bytes) -> Sequence[_Signature]:
    """The signatures in the output of `wipefs -J`, which is empty for some versions where there are none."""
    if not output.strip():
        return []
    try:
        return msgspec.json.decode(output, type=_Signatures).signatures
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable("wipefs printed something else than a list of signatures") from None


def reason_in(signatures: Sequence[_Signature]) -> str:
    """Why a device with these signatures must not be formatted; "" where nothing speaks against it."""
    for signature in signatures:
        kind = signature.type or "something"
        if kind == "swap":
            return "is a swap area"
        if signature.usage in _MEMBER_USAGES or kind.endswith("_member"):
            return f"is part of something larger ({kind})"
    return ""


def _mounted(part: Path, mounts: Sequence[Mount]) -> str:
    number = sysfs.node_number(part)
    return next((f"is mounted at {printable(each.mount_point)}" for each in mounts if each.number == number), "")


def _swapped_to(part: Path, swaps: Sequence[Swap]) -> str:
    number = sysfs.node_number(part)
    return "is in use as swap space" if any(swap.number == number for swap in swaps) else ""


def _held(part: Path) -> str:
    holders = sysfs.names(part / "holders")
    return f"is in use by {sysfs.device_path(holders[0])}" if holders else ""


def _behind_loop(part: Path, folder: Path) -> str:
    path = sysfs.device_path(part.name)
    for name in sysfs.names(folder / "block"):
        if name.startswith("loop") and sysfs.read(folder / "block" / name / "loop/backing_file") == path:
            return f"is in use by {sysfs.device_path(name)}"
    return ""


def _in_btrfs(part: Path, folder: Path) -> str:
    file_systems = folder / "fs/btrfs"
    members = (file_systems / name / "devices" / part.name for name in sysfs.names(file_systems))
    return "is part of a mounted btrfs file system" if any(member.exists() for member in members) else ""


def _mounts_of_init() -> list[Mount]:
    with contextlib.suppress(OSError):  # not ours to read, or no such process in this container
        return read_mounts(_INIT_MOUNTS)
    return []


def _open_exclusively(device: Device) -> int:
    flags = os.O_RDONLY | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(device.path, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Conflict(f"{device.path} is in use") from None
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ELOOP):
            raise Unknown(f"{device.path} is gone") from None
        raise Unavailable(f"{device.path} cannot be opened: {os.strerror(error.errno or 0)}") from None
    status = os.fstat(descriptor)
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if not stat.S_ISBLK(status.st_mode) or number != device.number:
        os.close(descriptor)
        raise Unknown(f"{device.path} is another device now")
    return descriptor
