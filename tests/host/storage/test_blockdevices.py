import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.host.errors import Unavailable
from appliance.host.storage.blockdevices import Block, BlockDevices, parse_blkid, parse_lsblk
from appliance.process.run import ProcessRunner
from tests.support.loops import loop, partition, run

reactor: Any = global_reactor

# util-linux 2.32 prints every value as text and leaves columns out that it does not know.
OLD = """{"blockdevices": [
  {"name": "/dev/sda", "kname": "/dev/sda", "maj:min": "8:0", "type": "disk", "size": "1000", "ro": "0", "rm": "1",
   "rota": "1", "model": "DISK", "serial": null,
   "children": [{"name": "/dev/sda1", "kname": "/dev/sda1", "maj:min": "8:1", "type": "part", "size": "500"}]}]}"""


def test_the_output_of_old_versions() -> None:
    (disk,) = parse_lsblk(OLD.encode())
    assert (disk.size, disk.ro, disk.rm, disk.rota, disk.model, disk.serial) == (1000, False, True, True, "DISK", None)
    assert [(part.name, part.number, part.size) for part in disk.children] == [("/dev/sda1", "8:1", 500)]


def test_no_devices_at_all() -> None:
    assert parse_lsblk(b"\n") == []
    assert parse_lsblk(b'{"blockdevices": []}') == []


@pytest.mark.parametrize("output", [b"{", b"[]", b'{"blockdevices": [{"name": "/dev/sda"}]}', b"\xff"])
def test_output_that_is_none(output: bytes) -> None:
    with pytest.raises(Unavailable):
        parse_lsblk(output)


def test_the_escapes_of_blkid() -> None:
    # As blkid 2.38 printed it for the label: a b$"\`x
    output = b'DEVNAME=/dev/loop1\nLABEL=a\\ b\\$\\"\\\\\\`x\nTYPE=ext4\n'
    assert parse_blkid(output) == {"DEVNAME": "/dev/loop1", "LABEL": 'a b$"\\`x', "TYPE": "ext4"}
    assert parse_blkid(b"") == {}


class BlockDevicesTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.runner = ProcessRunner(reactor)

    async def found(self, path: str, udev: Path) -> Block:
        (block,) = [block for block in await BlockDevices(self.runner, udev).read() if block.name == path]
        return block

    async def test_without_udev_blkid_is_asked(self) -> None:
        with loop(self.folder) as disk:
            first, second = partition(disk, 20, 20)
            run("mkfs.ext4", "-q", "-L", "a b", first)
            block = await self.found(disk, self.folder / "missing")
            self.assertEqual((block.type, block.pttype, block.fstype, block.size), ("loop", "gpt", None, 64 << 20))
            one, two = block.children
            self.assertEqual((one.name, one.type, one.fstype, one.label), (first, "part", "ext4", "a b"))
            self.assertEqual((two.name, two.fstype, two.label), (second, None, None))
            listed = json.loads(run("lsblk", "-J", "-b", "-o", "MAJ:MIN", first))
            self.assertEqual(one.number, listed["blockdevices"][0]["maj:min"])

    async def test_with_udev_its_word_is_taken(self) -> None:
        with loop(self.folder) as disk:
            run("mkfs.ext4", "-q", disk)
            known = json.loads(run("lsblk", "-J", "-o", "FSTYPE", disk))["blockdevices"][0]["fstype"]
            self.assertEqual((await self.found(disk, self.folder)).fstype, known)

    async def test_memory_is_no_disk(self) -> None:
        blocks = await BlockDevices(self.runner).read()
        self.assertTrue(blocks)
        for block in blocks:
            self.assertFalse(block.name.startswith(("/dev/zram", "/dev/ram")))
            self.assertTrue(block.size)

    async def test_a_device_that_cannot_be_read_holds_nothing(self) -> None:
        self.assertEqual(await BlockDevices(self.runner).probe("/dev/no-such-device"), {})
