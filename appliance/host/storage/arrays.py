"""Arrays, iSCSI sessions and multipath devices, from sysfs alone: a kernel that has none of them has no such folders.

The attributes are those of md.rst in the kernel's admin guide, of its scsi_transport_iscsi, and of its sysfs-block-dm.
Everything here blocks for microseconds: call it in a thread.
"""

from pathlib import Path

import msgspec

from appliance.host.storage import sysfs
from appliance.host.storage.sysfs import SYSFS

_MULTIPATH = "mpath-"


class RaidMember(msgspec.Struct, frozen=True):
    """A device of an array; `state` as the kernel says it (`in_sync`, `spare`, `faulty`, …), `slot` "" for a spare."""

    name: str
    path: str
    state: str
    slot: str


class RaidDevice(msgspec.Struct, frozen=True):
    """An array of md; `size` in bytes, `degraded` the number of missing members, `sync_percent` of `sync_action`."""

    name: str
    path: str
    level: str
    state: str
    size: int
    raid_disks: int
    degraded: int
    sync_action: str
    sync_percent: float
    chunk_size: int
    metadata_version: str
    members: list[RaidMember]


class IscsiSession(msgspec.Struct, frozen=True):
    """A session with an iSCSI target; `disks` are the paths of what it brings."""

    id: str
    target: str
    portal: str
    tpgt: str
    state: str
    disks: list[str]


class MultipathPath(msgspec.Struct, frozen=True):
    """One of the ways to a disk; `state` is the kernel's (`running`, `offline`, …)."""

    name: str
    path: str
    state: str


class MultipathDevice(msgspec.Struct, frozen=True):
    """A disk with several ways to it; `size` in bytes, `uuid` the disk's world-wide name."""

    name: str
    path: str
    uuid: str
    size: int
    state: str
    paths: list[MultipathPath]


def raid_devices(folder: Path = SYSFS) -> list[RaidDevice]:
    """All arrays of md."""
    block = folder / "block"
    return [_raid(block / name) for name in sysfs.names(block) if (block / name / "md").is_dir()]


def iscsi_sessions(folder: Path = SYSFS) -> list[IscsiSession]:
    """All sessions of the kernel's iSCSI initiator."""
    sessions = folder / "class/iscsi_session"
    return [_session(sessions / name) for name in sysfs.names(sessions)]


def multipath_devices(folder: Path = SYSFS) -> list[MultipathDevice]:
    """All devices of the device mapper that multipathd has made."""
    block = folder / "block"
    found = (block / name for name in sysfs.names(block))
    return [_multipath(device) for device in found if sysfs.read(device / "dm/uuid").startswith(_MULTIPATH)]


def _raid(device: Path) -> RaidDevice:
    md = device / "md"
    return RaidDevice(
        name=device.name,
        path=sysfs.device_path(device.name),
        level=sysfs.read(md / "level"),
        state=sysfs.read(md / "array_state"),
        size=_size(device),
        raid_disks=sysfs.read_number(md / "raid_disks"),
        degraded=sysfs.read_number(md / "degraded"),
        sync_action=sysfs.read(md / "sync_action"),
        sync_percent=_share(sysfs.read(md / "sync_completed")),
        chunk_size=sysfs.read_number(md / "chunk_size"),
        metadata_version=sysfs.read(md / "metadata_version"),
        members=[_member(md / name) for name in sysfs.names(md) if name.startswith("dev-")],
    )


def _member(folder: Path) -> RaidMember:
    name = folder.name.removeprefix("dev-")
    slot = sysfs.read(folder / "slot")
    return RaidMember(
        name=name.replace("!", "/"),
        path=sysfs.device_path(name),
        state=sysfs.read(folder / "state"),
        slot="" if slot == "none" else slot,
    )


def _session(session: Path) -> IscsiSession:
    connections = sorted((session / "device").glob("connection*/iscsi_connection/connection*"))
    return IscsiSession(
        id=session.name,
        target=sysfs.read(session / "targetname"),
        portal=_portal(connections[0]) if connections else "",
        tpgt=sysfs.read(session / "tpgt"),
        state=sysfs.read(session / "state"),
        disks=sorted(sysfs.device_path(disk.name) for disk in (session / "device").glob("target*/*:*/block/*")),
    )


def _portal(connection: Path) -> str:
    """The address and port that the session was made with; an IPv6 address in brackets."""
    address = sysfs.read(connection / "persistent_address") or sysfs.read(connection / "address")
    port = sysfs.read(connection / "persistent_port") or sysfs.read(connection / "port")
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _multipath(device: Path) -> MultipathDevice:
    name = sysfs.read(device / "dm/name")
    return MultipathDevice(
        name=name,
        path=f"/dev/mapper/{name}",
        uuid=sysfs.read(device / "dm/uuid").removeprefix(_MULTIPATH),
        size=_size(device),
        state="suspended" if sysfs.read(device / "dm/suspended") == "1" else "active",
        paths=[_path(device / "slaves" / slave) for slave in sysfs.names(device / "slaves")],
    )


def _path(disk: Path) -> MultipathPath:
    return MultipathPath(disk.name, sysfs.device_path(disk.name), sysfs.read(disk / "device/state"))


def _size(device: Path) -> int:
    return sysfs.read_number(device / "size") * 512


def _share(completed: str) -> float:
    """The percentage in `DONE / WHOLE`, both in sectors; 0 for `none` and `delayed`."""
    done, separator, whole = completed.partition(" / ")
    if not separator or not done.isdigit() or not whole.isdigit() or not int(whole):
        return 0.0
    return round(100 * int(done) / int(whole), 1)
