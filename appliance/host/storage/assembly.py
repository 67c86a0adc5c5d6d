"""Puts together what lsblk, the kernel's tables and statvfs(3) tell of one disk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.host.storage.blockdevices import Block
from appliance.host.storage.model import Disk, FreeDisk, Partition
from appliance.host.storage.sysfs import Hardware
from appliance.host.storage.tables import Mount, Swap, printable, read_mounts, read_swaps
from appliance.host.storage.usage import NO_SPACE, Space

SWAP = "[SWAP]"
_MOUNT_POINTS_SHOWN = 32
_SMALLEST_FREE = 1 << 20  # what is smaller is an extended partition, or left over from alignment
_DRIVES = frozenset({"ssd", "hdd", "nvme", "loop"})


@dataclass(frozen=True)
class Tables:
    """Mounts and swap areas by the number of their device; the mounts that show a whole file system come first."""

    mounts: Mapping[str, Sequence[Mount]]
    swaps: Mapping[str, Swap]

    def measurable(self, blocks: Sequence[Block]) -> Iterator[str]:
        """One mount point of each file system on the devices: none of a network, which might not answer."""
        for block in (member for top in blocks for member in top.family()):
            for mount in self.mounts.get(block.number, ())[:1]:
                yield mount.mount_point


def read_tables() -> Tables:
    """What is mounted and swapped to now. Blocking; raises OSError."""
    return tables_of(read_mounts(), read_swaps())


def tables_of(mounts: Sequence[Mount], swaps: Sequence[Swap]) -> Tables:
    """Sort the tables by device. A bind mount of a part counts only where the whole is not mounted."""
    by_device: dict[str, list[Mount]] = {}
    for mount in mounts:
        by_device.setdefault(mount.number, []).append(mount)
    for number, found in by_device.items():
        by_device[number] = [mount for mount in found if mount.root == "/"] or found
    return Tables(by_device, {swap.number: swap for swap in swaps if swap.number})


def disk_of(block: Block, hardware: Hardware, tables: Tables, usage: Mapping[str, Space]) -> Disk:
    """The disk `block` with all that is built on it, flat, so that a client of one level sees it all."""
    parts: dict[str, Partition] = {}
    for part in _built_on(block, tables, usage):
        parts.setdefault(part.path, part)
    return Disk(
        name=_name(block),
        path=block.name,
        size=block.size or 0,
        model=_text(block.model) or hardware.model,
        serial=_text(block.serial) or hardware.serial,
        vendor=_vendor(block),
        type=_kind(block),
        transport=_text(block.tran) or hardware.transport,
        removable=block.rm,
        read_only=block.ro,
        partition_table=_text(block.pttype),
        backing_file=hardware.backing_file,
        partitions=list(parts.values()),
        **_content(block, tables, usage),
    )


def free_among(disks: Sequence[Disk]) -> Iterator[FreeDisk]:
    """Those disks and partitions that hold nothing and that nothing uses."""
    for disk in disks:
        if disk.type not in _DRIVES:
            continue
        if not disk.partitions and not disk.partition_table and _is_free(disk):
            yield FreeDisk(disk.name, disk.path, disk.size, disk.model, disk.serial, disk.type)
        parents = {part.parent for part in disk.partitions}
        for part in disk.partitions:
            if part.type == "part" and part.name not in parents and _is_free(part):
                yield FreeDisk(part.name, part.path, part.size, disk.model, disk.serial, disk.type)


def _is_free(device: Disk | Partition) -> bool:
    holds = device.filesystem or device.mount_point
    return not holds and not device.read_only and device.size >= _SMALLEST_FREE


def _built_on(block: Block, tables: Tables, usage: Mapping[str, Space]) -> Iterator[Partition]:
    for child in block.children:
        yield Partition(
            name=_name(child),
            path=child.name,
            type=child.type,
            parent=_name(block),
            size=child.size or 0,
            read_only=child.ro,
            **_content(child, tables, usage),
        )
        yield from _built_on(child, tables, usage)


def _content(block: Block, tables: Tables, usage: Mapping[str, Space]) -> dict[str, Any]:
    """The fields that tell of the file system on a device."""
    mounts = tables.mounts.get(block.number, ())
    swap = tables.swaps.get(block.number)
    space = usage.get(mounts[0].mount_point, NO_SPACE) if mounts else NO_SPACE
    points = list(dict.fromkeys(printable(mount.mount_point) for mount in mounts))
    if swap is not None:
        space, points = Space(swap.used, swap.size - swap.used), [SWAP]
    return {
        "filesystem": _text(block.fstype) or (mounts[0].filesystem if mounts else "swap" if swap else ""),
        "label": _text(block.label),
        "uuid": _text(block.uuid),
        "mount_point": points[0] if points else "",
        "mount_points": points[:_MOUNT_POINTS_SHOWN],
        "used": space.used,
        "available": space.available,
        "use_percent": space.use_percent,
    }


def _name(block: Block) -> str:
    """The name within /dev, without the folder of the device mapper."""
    return block.name.removeprefix("/dev/").removeprefix("mapper/")


def _kind(block: Block) -> str:
    if block.type == "rom":
        return "optical"
    if block.type != "disk":
        return block.type
    if block.kname.startswith("/dev/nvme"):
        return "nvme"
    return "hdd" if block.rota else "ssd"


def _vendor(block: Block) -> str:
    """The maker's name; virtio has the number of its PCI vendor in its place."""
    vendor = _text(block.vendor)
    return "" if vendor.startswith("0x") else vendor


def _text(value: str | None) -> str:
    return (value or "").strip()
