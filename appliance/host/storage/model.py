"""Disks and their partitions as they are shown.

The fields are those of the reference. Where nothing is known or there is nothing, texts are empty and numbers 0, never
null, for its clients take them as they come.
"""

import msgspec


class Partition(msgspec.Struct, frozen=True):
    """A partition, or what is built on one: a logical volume, an opened encryption, an array.

    `type` is lsblk's (`part`, `lvm`, `crypt`, `raid1`, `mpath`, …), `parent` the name of the device it lies on. Sizes
    are in bytes; `used` and `available` count while it is mounted or in use as swap, whose `mount_point` is `[SWAP]`.
    """

    name: str
    path: str
    type: str
    parent: str
    size: int
    read_only: bool
    filesystem: str
    label: str
    uuid: str
    mount_point: str
    mount_points: list[str]
    used: int
    available: int
    use_percent: float


class Disk(msgspec.Struct, frozen=True):
    """A whole disk with all that lies on it, in one flat list.

    `type` is `ssd`, `hdd`, `nvme`, `loop`, `optical`, or the kind of an array; `transport` how it is connected (`sata`,
    `usb`, `nvme`, `virtio`, …). `backing_file` is a loop device's. The fields of a file system, as in `Partition`, are
    those of one that takes the whole disk.
    """

    name: str
    path: str
    size: int
    model: str
    serial: str
    vendor: str
    type: str
    transport: str
    removable: bool
    read_only: bool
    partition_table: str
    backing_file: str
    filesystem: str
    label: str
    uuid: str
    mount_point: str
    mount_points: list[str]
    used: int
    available: int
    use_percent: float
    partitions: list[Partition]


class FreeDisk(msgspec.Struct, frozen=True):
    """A disk or partition that holds nothing and that nothing uses; `size` in bytes."""

    name: str
    path: str
    size: int
    model: str
    serial: str
    type: str
