"""From the path that somebody gives to the one block device it means."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from appliance.host.errors import Invalid, Unknown
from appliance.host.storage import sysfs
from appliance.host.storage.sysfs import SYSFS

PATH_LIMIT = 1024
"""Bytes of a device's path; the longest that udev makes are a fifth of it."""
_FIELD = "device"


@dataclass(frozen=True, slots=True)
class Device:
    """A block device: the path of its node with all links followed, `MAJOR:MINOR`, its folder in sysfs."""

    path: str
    number: str
    folder: Path

    @property
    def is_partition(self) -> bool:
        """Whether it is a part of another device."""
        return sysfs.is_partition(self.folder)

    @property
    def size(self) -> int:
        """Bytes; 0 where there is no medium. sysfs counts in sectors of 512 whatever the hardware's are."""
        return sysfs.read_number(self.folder / "size") * 512

    @property
    def is_read_only(self) -> bool:
        """Whether the device refuses to be written."""
        return sysfs.read(self.folder / "ro") == "1"


def resolve(path: str, folder: Path = SYSFS) -> Device:
    """The device that `path` names, directly or by links. Blocking.

    Raises `Invalid` for what is no path within /dev or no block device, `Unknown` for what does not exist.
    """
    if not path.startswith("/dev/") or ".." in path.split("/"):
        raise Invalid(_FIELD, "expected the path of a device, such as /dev/sdb1")
    if not path.isprintable() or len(path.encode()) > PATH_LIMIT:
        raise Invalid(_FIELD, "the path is too long, or has characters that paths of devices do not have")
    try:
        real = os.path.realpath(path, strict=True)
        status = os.lstat(real)
    except (FileNotFoundError, NotADirectoryError):
        raise Unknown(f"{path} does not exist") from None
    except OSError as error:
        raise Invalid(_FIELD, os.strerror(error.errno or 0)) from None
    if not real.startswith("/dev/") or not stat.S_ISBLK(status.st_mode):
        raise Invalid(_FIELD, "not a block device")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    found = sysfs.folder_of(number, folder)
    if found is None:
        raise Unknown(f"{path} is left over from a device that is gone")
    return Device(real, number, found)
