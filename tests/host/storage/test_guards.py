"""What must not be formatted, on real devices."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.host.errors import Conflict, Unavailable
from appliance.host.storage.devices import Device, resolve
from appliance.host.storage.guards import Guard, check_use, parse_signatures, reason_in
from appliance.process.run import ProcessRunner
from appliance.threads import Threads
from tests.support.loops import loop, partition, run, signature, swapped_to
from tests.support.machine import machine

reactor: Any = global_reactor

# The second sector of a device of 200 MiB after pvcreate of LVM 2.03: header and checksum of a physical volume's label.
PV_LABEL = (
    b"LABELONE"
    + struct.pack("<Q", 1)
    + bytes(4)
    + struct.pack("<I", 32)
    + b"LVM2 001"
    + b"vnBq81Bt6YztRBG845JSYTpwznDGSb9f"
)


def write_physical_volume(device: str) -> None:
    """What pvcreate writes for blkid and LVM to find; the checksum as in LVM's lib/misc/crc.c."""
    sector = bytearray(PV_LABEL.ljust(512, b"\0"))
    sector[16:20] = struct.pack("<I", _crc(bytes(sector[20:])))
    _write(device, 512, bytes(sector))


def _crc(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def write_luks(device: str) -> None:
    """The header of an encryption (LUKS1, On-Disk Format, figure 1)."""
    _write(device, 0, b"LUKS\xba\xbe" + struct.pack(">H", 1))
    _write(device, 168, b"5e1b4a2c-9d3f-4f0e-8a7b-1c2d3e4f5a6b")


def _write(device: str, offset: int, data: bytes) -> None:
    descriptor = os.open(device, os.O_WRONLY)
    try:
        os.pwrite(descriptor, data, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class GuardTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.guard = Guard(Threads(reactor), ProcessRunner(reactor))

    async def refusal(self, *paths: str) -> str:
        """The reason, which is the same for each of the devices."""
        reasons = set()
        for path in paths:
            try:
                await self.guard.check(resolve(path))
            except Conflict as error:
                reasons.add(str(error))
            else:
                self.fail(f"{path} would have been formatted")
        (reason,) = reasons
        return reason

    async def test_what_may_be_formatted(self) -> None:
        with loop(self.folder) as disk:
            await self.guard.check(resolve(disk))
            first, second = partition(disk, 20, 20)
            run("mkfs.ext4", "-q", first)
            for path in (disk, first, second):
                await self.guard.check(resolve(path))
            with swapped_to(second):  # a neighbour may be in use
                await self.guard.check(resolve(first))

    async def test_a_mounted_device_in_whatever_namespace(self) -> None:
        with loop(self.folder) as disk, machine(self.folder) as inside:
            first, second = partition(disk, 20, 20)
            run("mkfs.ext4", "-q", first)
            inside.run("mount", first, "/mnt")
            for path in (disk, first):
                self.assertEqual(await self.refusal(path), f"{path} is in use")
            await self.guard.check(resolve(second))
            inside.run("umount", "/mnt")
            await self.guard.check(resolve(first))

    async def test_a_swap_area(self) -> None:
        with loop(self.folder) as disk:
            (part,) = partition(disk, 20)
            with swapped_to(part):
                self.assertEqual(await self.refusal(disk, part), f"{part} is in use as swap space")
            self.assertIn(f"{part} is a swap area", await self.refusal(disk, part))

    async def test_members_of_something_larger(self) -> None:
        kinds = {"LVM2_member": write_physical_volume, "crypto_LUKS": write_luks}
        for kind, write in kinds.items():
            with loop(self.folder) as disk:
                (part,) = partition(disk, 20)
                write(part)
                self.assertEqual(signature(part), kind)
                self.assertIn(f"{part} is part of something larger ({kind})", await self.refusal(disk, part))

    async def test_two_signatures_hide_nothing(self) -> None:
        with loop(self.folder) as disk:
            run("mkfs.vfat", "-I", disk)
            _write(disk, 1024, struct.pack("<III", 1, 4095, 0))
            _write(disk, 4096 - 10, b"SWAPSPACE2")
            self.assertEqual(signature(disk), "")  # blkid cannot decide, and says nothing
            self.assertIn("is a swap area", await self.refusal(disk))

    async def test_a_disk_that_is_the_member_guards_its_partitions(self) -> None:
        with loop(self.folder) as disk:
            (part,) = partition(disk, 20)
            write_luks(disk)
            self.assertIn(f"{disk} is part of something larger (crypto_LUKS)", await self.refusal(part))

    async def test_the_device_behind_a_loop(self) -> None:
        with loop(self.folder) as disk:
            above = run("losetup", "--find", "--show", disk).strip()
            try:
                self.assertEqual(await self.refusal(disk), f"{disk} is in use by {above}")
            finally:
                run("losetup", "--detach", above)

    async def test_somebody_who_holds_it(self) -> None:
        with loop(self.folder) as disk:
            (part,) = partition(disk, 20)
            descriptor = os.open(part, os.O_RDONLY | os.O_EXCL)
            try:
                self.assertEqual(await self.refusal(part), f"{part} is in use")
                self.assertEqual(await self.refusal(disk), f"{disk} is in use")
            finally:
                os.close(descriptor)
            await self.guard.check(resolve(disk))

    async def test_a_member_of_a_mounted_btrfs_of_two_disks(self) -> None:
        with loop(self.folder, 128) as one, loop(self.folder, 128) as two, machine(self.folder) as inside:
            run("mkfs.btrfs", "-q", one, two)
            run("btrfs", "device", "scan", one, two)
            inside.run("mount", one, "/mnt")
            for path in (one, two):  # only the first is in the mount table
                self.assertIn("btrfs", await self.refusal(path))
            inside.run("umount", "/mnt")
            run("btrfs", "device", "scan", "--forget", one)
            run("btrfs", "device", "scan", "--forget", two)

    async def test_a_read_only_device(self) -> None:
        with loop(self.folder, 64, "--read-only") as disk:
            self.assertEqual(await self.refusal(disk), f"{disk} is read-only")

    async def test_the_disk_of_the_root(self) -> None:
        status = os.stat("/")
        number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        folder = Path("/sys/dev/block", number).resolve()
        self.assertTrue(folder.is_dir(), "the tests need a root on a block device")
        root = Device(f"/dev/{folder.name}", number, folder)
        with pytest.raises(Conflict, match="is mounted at /"):
            check_use(root)


def test_a_held_device(tmp_path: Path) -> None:
    """An array, a logical volume or an opened encryption: what sysfs shows of one, for this kernel has none of them."""
    device = tmp_path / "devices/sdz"
    (device / "sdz1/holders/dm-3").mkdir(parents=True)
    (device / "holders").mkdir()
    for name, content in (
        ("size", "2048"),
        ("ro", "0"),
        ("dev", "8:400"),
        ("sdz1/dev", "8:401"),
        ("sdz1/partition", "1"),
    ):
        (device / name).write_text(content + "\n")
    with pytest.raises(Conflict, match="/dev/sdz1 is in use by /dev/dm-3"):
        check_use(Device("/dev/sdz", "8:400", device), tmp_path)


def test_signatures() -> None:
    # As wipefs 2.38 prints them for a partitioned disk, and for one of ZFS.
    table = b"""{"signatures": [
      {"type": "gpt", "usage": "partition-table"}, {"type": "PMBR", "usage": "partition-table"}]}"""
    assert reason_in(parse_signatures(table)) == ""
    zfs = b'{"signatures": [{"type": "zfs_member", "usage": "filesystem"}]}'
    assert reason_in(parse_signatures(zfs)) == "is part of something larger (zfs_member)"
    assert parse_signatures(b"\n") == []
    assert parse_signatures(b'{"signatures": [\n\n]}') == []
    for output in (b"{", b"[]", b"text"):
        with pytest.raises(Unavailable):
            parse_signatures(output)
