"""What is asked of the storage endpoints, and the wrappers of their replies."""

from typing import Annotated, Literal

import msgspec

from appliance.host.storage.arrays import IscsiSession, MultipathDevice, RaidDevice
from appliance.host.storage.lvm import LogicalVolume, PhysicalVolume, VolumeGroup
from appliance.host.storage.model import Disk, FreeDisk
from appliance.host.storage.mount_options import BY_FILESYSTEM, LIMIT

_DEVICE = "The path of a block device, or a link to one in /dev."
_KIND = f"`auto`, which is the default, or one of {', '.join(BY_FILESYSTEM)}."
_OPTIONS = "Separated by commas, as in fstab. `nosuid` and `nodev` are always added."
_LABEL = "At most 16 bytes for ext2 to ext4, 12 for xfs, 255 for btrfs, 11 for vfat."


def _text(description: str, limit: int, least: int = 0) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=limit, min_length=least)


_Device = Annotated[str, _text(_DEVICE, 1024, 1)]
_MountPoint = Annotated[str, _text("An absolute path.", 4095, 1)]
_Kind = Annotated[str, _text(_KIND, 32)]
_Options = Annotated[str, _text(_OPTIONS, LIMIT)]
_Label = Annotated[str, _text(_LABEL, 255)]


class MountBody(msgspec.Struct):
    """What to mount where."""

    device: _Device
    mount_point: _MountPoint
    filesystem: _Kind | None = None
    options: _Options | None = None


class UnmountBody(msgspec.Struct):
    """What to unmount; `force` gives up on a network file system that does not answer."""

    mount_point: _MountPoint
    force: bool = False


class FormatBody(msgspec.Struct):
    """Which device to format, and how."""

    device: _Device
    filesystem: Literal["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"]
    label: _Label | None = None


class StorageMessage(msgspec.Struct):
    """What was done."""

    message: str


class DiskList(msgspec.Struct):
    """All disks."""

    disks: list[Disk]


class FreeDiskList(msgspec.Struct):
    """Disks and partitions that hold nothing."""

    disks: list[FreeDisk]


class VolumeGroupList(msgspec.Struct):
    """All volume groups."""

    volume_groups: list[VolumeGroup]


class LogicalVolumeList(msgspec.Struct):
    """All logical volumes."""

    logical_volumes: list[LogicalVolume]


class PhysicalVolumeList(msgspec.Struct):
    """All physical volumes."""

    physical_volumes: list[PhysicalVolume]


class RaidDeviceList(msgspec.Struct):
    """All arrays."""

    devices: list[RaidDevice]


class IscsiSessionList(msgspec.Struct):
    """All iSCSI sessions."""

    sessions: list[IscsiSession]


class MultipathDeviceList(msgspec.Struct):
    """All multipath devices."""

    devices: list[MultipathDevice]
