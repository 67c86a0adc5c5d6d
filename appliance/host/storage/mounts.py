"""Mounting and unmounting, by mount(8) and umount(8)."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import DeferredLock

from appliance.host.errors import Conflict, HostError, Invalid, Unavailable, Unknown
from appliance.host.storage import mount_points, sysfs
from appliance.host.storage.blockdevices import BlockDevices
from appliance.host.storage.devices import Device, resolve
from appliance.host.storage.mount_options import BY_FILESYSTEM, LIMIT, parse_options
from appliance.host.storage.tables import Mount, read_mounts, read_swaps
from appliance.host.storage.tool_words import first_words
from appliance.process.run import Finished, ProcessRunner
from appliance.threads import Threads

_SECONDS = 300.0  # replaying a large journal, or writing out what a slow disk has not got yet, takes minutes
_DRIVERS = {"ntfs": "ntfs3"}
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "glusterfs", "fuse.")


class Mounts:
    """Mounts and unmounts, one at a time. `changed` is called when the mounts are other ones."""

    def __init__(
        self,
        threads: Threads,
        runner: ProcessRunner,
        devices: BlockDevices,
        lock: DeferredLock,
        changed: Callable[[], None],
    ) -> None:
        self._threads = threads
        self._runner = runner
        self._devices = devices
        self._lock = lock
        self._changed = changed

    async def mount(self, path: str, mount_point: str, filesystem: str = "", options: str = "") -> str:
        """Mount the device at `path` and return, in words, what was done.

        `filesystem` is found out where it is empty or `auto`. A directory that is missing is made, and is removed again
        when the mount fails. Raises `Invalid`, `Unknown`, `Conflict`, `Unavailable`.
        """
        target = mount_points.parse(mount_point)
        if mount_points.is_of_the_system(target):
            raise Invalid("mount_point", f"{target} belongs to the system")
        device = await self._threads.run(resolve, path)
        kind = await self._driver(device, filesystem)
        arguments = parse_options(_bounded(options), kind)
        await self._lock.acquire()
        try:
            await self._threads.run(_refuse_if_used, device, target)
            made = await self._threads.run(mount_points.prepare, target)
            try:
                # -i: no helper program of another package decides what happens.
                argv = ["mount", "-i", "-t", kind, "-o", arguments, "--", device.path, target]
                finished = await self._runner.run(argv, timeout=_SECONDS)
                if not finished.succeeded and not await self._is_mounted(device, target):
                    raise _mount_failure(finished, device, kind, target)
            except BaseException:
                await self._threads.run(mount_points.remove, made)
                raise
        finally:
            self._lock.release()
            self._changed()
        return f"Mounted {device.path} at {target}" + _how(finished)

    async def unmount(self, mount_point: str, *, force: bool = False) -> str:
        """Unmount what is mounted at `mount_point` and return, in words, what was done.

        `force` is umount's: it gives up on a network file system that does not answer; what is in use stays mounted.
        Raises `Invalid`, `Unknown`, `Conflict`, `Unavailable`.
        """
        target = mount_points.parse(mount_point)
        await self._lock.acquire()
        try:
            await self._threads.run(_refuse_unless_unmountable, target)
            options = ["-f"] if force else []
            finished = await self._runner.run(["umount", *options, "--", target], timeout=_SECONDS)
            if not finished.succeeded:
                raise _unmount_failure(finished, target)
        finally:
            self._lock.release()
            self._changed()
        return f"Unmounted {target}"

    async def _driver(self, device: Device, filesystem: str) -> str:
        """The kernel's name of the file system, found on the device unless given."""
        kind = filesystem
        if kind in ("", "auto"):
            kind = (await self._devices.probe(device.path)).get("TYPE", "")
            if not kind:
                raise Conflict(f"No file system is found on {device.path}")
            if _DRIVERS.get(kind, kind) not in BY_FILESYSTEM:
                raise Conflict(f"{device.path} holds {kind}, which cannot be mounted here")
        kind = _DRIVERS.get(kind, kind)
        if kind not in BY_FILESYSTEM:
            raise Invalid("filesystem", f"expected one of {', '.join(BY_FILESYSTEM)}")
        return kind

    async def _is_mounted(self, device: Device, target: str) -> bool:
        """A mount that did not end in time may have come about all the same."""
        mounts = await self._threads.run(read_mounts)
        return any(each.number == device.number and each.mount_point == target for each in mounts)


def _bounded(options: str) -> str:
    if len(options) > LIMIT:
        raise Invalid("options", f"at most {LIMIT} characters")
    return options


def _refuse_if_used(device: Device, target: str) -> None:
    for mount in read_mounts():
        if mount.mount_point == target:
            raise Conflict(f"{mount.source} is mounted at {target} already")
        if mount.number == device.number:
            raise Conflict(f"{device.path} is mounted already, at {mount.mount_point}")
    if any(swap.number == device.number for swap in read_swaps()):
        raise Conflict(f"{device.path} is in use as swap space")
    holders = sysfs.names(device.folder / "holders")
    if holders:
        raise Conflict(f"{device.path} is in use by {sysfs.device_path(holders[0])}")


def _refuse_unless_unmountable(target: str) -> None:
    mount = next((each for each in reversed(read_mounts()) if each.mount_point == target), None)
    if mount is None:
        raise Unknown(f"Nothing is mounted at {target}")
    if mount_points.is_of_the_system(target):
        raise Conflict(f"{target} belongs to the system")
    if not _holds_data(mount):
        raise Conflict(
            f"What is mounted at {target} ({mount.filesystem}) is neither a disk's nor a network file system"
        )


def _holds_data(mount: Mount) -> bool:
    return sysfs.folder_of(mount.number) is not None or mount.filesystem.startswith(_NETWORK)


def _how(finished: Finished) -> str:
    return ", read-only" if b"mounted read-only" in finished.stderr else ""


_Meaning = tuple[str, type[HostError], str]

_MOUNT_FAILURES: Sequence[_Meaning] = (
    ("unknown filesystem type", Unavailable, "the kernel has no support for {kind}"),
    ("wrong fs type", Conflict, "there is no sound {kind} file system on it, or an option does not suit it"),
    ("can't read superblock", Conflict, "there is no sound {kind} file system on it"),
    ("already mounted", Conflict, "it, or the mount point, is in use"),
    ("busy", Conflict, "it, or the mount point, is in use"),
    ("write-protected", Conflict, "it is read-only; ask for the option ro"),
    ("no medium", Conflict, "there is no medium in it"),
    ("permission denied", Unavailable, "this server may not mount"),
    ("must be superuser", Unavailable, "this server may not mount"),
)


def _mount_failure(finished: Finished, device: Device, kind: str, target: str) -> HostError:
    if finished.timed_out:
        return Unavailable(f"Mounting {device.path} did not end in time")
    words = first_words(finished.stderr).removeprefix(f"mount: {target}: ")
    for text, error, meaning in _MOUNT_FAILURES:
        if text in words.lower():
            return error(f"{device.path} cannot be mounted: {meaning.format(kind=kind)}")
    return Conflict(f"{device.path} cannot be mounted: {words or finished.describe()}")


def _unmount_failure(finished: Finished, target: str) -> HostError:
    words = first_words(finished.stderr).removeprefix(f"umount: {target}: ")
    if finished.timed_out:
        return Unavailable(f"Unmounting {target} did not end in time")
    if "busy" in words:
        return Conflict(f"{target} is in use")
    if "not mounted" in words or "no mount point" in words:
        return Unknown(f"Nothing is mounted at {target}")
    if "must be superuser" in words or "not permitted" in words.lower():
        return Unavailable("This server may not unmount")
    return Conflict(f"{target} cannot be unmounted: {words or finished.describe()}")
