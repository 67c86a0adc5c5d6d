"""What sysfs tells of block devices (sysfs-block in the kernel's Documentation/ABI); reading it takes microseconds."""

import os
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys")
_LIMIT = 4096


def read(path: Path) -> str:
    """The text of an attribute without the blanks around it; "" where the device has no such attribute."""
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(_LIMIT).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> int:
    """The number in an attribute, 0 where there is none."""
    text = read(path)
    return int(text) if text.isascii() and text.isdigit() else 0


def names(path: Path) -> list[str]:
    """The entries of a directory in order; none where it is missing."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def device_path(name: str) -> str:
    """The node of the device that sysfs calls `name`, which writes `!` for `/`."""
    return "/dev/" + name.replace("!", "/")


def node_number(folder: Path) -> str:
    """`MAJOR:MINOR` of the device with this folder."""
    return read(folder / "dev")


def folder_of(number: str, sysfs: Path = SYSFS) -> Path | None:
    """The real folder of the device `MAJOR:MINOR`, or None where the kernel has no such block device."""
    path = sysfs / "dev/block" / number
    return path.resolve() if path.exists() else None


def partitions(folder: Path) -> list[Path]:
    """The folders of a disk's partitions."""
    return [folder / name for name in names(folder) if (folder / name / "partition").exists()]


def is_partition(folder: Path) -> bool:
    """Whether the device is a part of a disk, whose folder is then the one above."""
    return (folder / "partition").exists()


@dataclass(frozen=True, slots=True)
class Hardware:
    """What lsblk leaves out without udev, or always."""

    model: str
    serial: str
    transport: str
    backing_file: str


NO_HARDWARE = Hardware("", "", "", "")


def hardware(number: str, sysfs: Path = SYSFS) -> Hardware:
    """The facts about the disk `MAJOR:MINOR`."""
    folder = folder_of(number, sysfs)
    if folder is None:
        return NO_HARDWARE
    subsystem = folder / "device/subsystem"
    return Hardware(
        model=read(folder / "device/model"),
        serial=read(folder / "device/serial") or read(folder / "serial"),
        transport=subsystem.resolve().name if subsystem.exists() else "",
        backing_file=read(folder / "loop/backing_file"),
    )
