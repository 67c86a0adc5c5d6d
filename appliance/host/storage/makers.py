"""The programs that make file systems: their arguments, their labels, how small a device may be.

From mke2fs(8), mkfs.xfs(8), mkfs.btrfs(8) and mkfs.fat(8). All of them claim the device by O_EXCL before they write, or
look whether it is mounted. Their force options (`-F`, `-f`, `-I`) only say that what lay on the device, or a whole disk
instead of a partition, is meant; none of them makes a program write to a device that is in use.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.host.errors import Invalid

_FAT_FORBIDDEN = '"*+,./:;<=>?[\\]|'
_MIB = 1 << 20


@dataclass(frozen=True)
class Maker:
    """How one kind of file system is made; `label_limit` in bytes, `smallest` the device's least size in bytes."""

    filesystem: str
    program: str
    force: tuple[str, ...]
    label_option: str
    label_limit: int
    smallest: int
    force_whole_disk: tuple[str, ...] = ()

    def argv(self, path: str, label: str, *, whole_disk: bool) -> list[str]:
        """The command that formats the device at `path`."""
        options = [*self.force, *(self.force_whole_disk if whole_disk else ())]
        if label:
            options += [self.label_option, label]
        return [self.program, *options, "--", path]

    def check_label(self, label: str) -> None:
        """Raise `Invalid` for a label that this file system cannot bear."""
        if len(label.encode()) > self.label_limit:
            raise Invalid("label", f"at most {self.label_limit} bytes for {self.filesystem}")
        if not label.isprintable() or label != label.strip():
            raise Invalid("label", "control characters, and blanks at either end, are not allowed")
        if self.filesystem == "vfat" and (not label.isascii() or any(each in _FAT_FORBIDDEN for each in label)):
            raise Invalid("label", f"ASCII only for vfat, without any of {_FAT_FORBIDDEN}")


def _ext(version: str, smallest: int) -> Maker:
    return Maker(version, f"mkfs.{version}", ("-F",), "-L", 16, smallest)


MAKERS: Mapping[str, Maker] = {
    maker.filesystem: maker
    for maker in (
        _ext("ext2", 256 * 1024),
        _ext("ext3", 2 * _MIB),  # on less there is no room for a journal
        _ext("ext4", 2 * _MIB),
        # xfsprogs refuse less since 5.19, btrfs-progs by what their metadata needs.
        Maker("xfs", "mkfs.xfs", ("-f",), "-L", 12, 300 * _MIB),
        Maker("btrfs", "mkfs.btrfs", ("-f",), "-L", 255, 109 * _MIB),
        # Without -I it is asked for a partition; 4.2 asks only where the disk has some.
        Maker("vfat", "mkfs.vfat", (), "-n", 11, 128 * 1024, force_whole_disk=("-I",)),
    )
}


def maker_of(filesystem: str) -> Maker:
    """The maker of a file system. Raises `Invalid` for one that is not offered."""
    maker = MAKERS.get(filesystem)
    if maker is None:
        raise Invalid("filesystem", f"expected one of {', '.join(MAKERS)}")
    return maker
