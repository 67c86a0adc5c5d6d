"""How disks are put together, and when they are looked at again."""

from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from appliance.host.errors import Unavailable
from appliance.host.storage.assembly import disk_of, free_among, tables_of
from appliance.host.storage.blockdevices import Block
from appliance.host.storage.disks import DEVICES_SECONDS, USAGE_SECONDS, Disks
from appliance.host.storage.model import Disk
from appliance.host.storage.sysfs import NO_HARDWARE, Hardware
from appliance.host.storage.tables import Mount, Swap
from appliance.host.storage.usage import Space
from appliance.threads import Threads
from tests.support.loops import loop

reactor: Any = global_reactor

GIB = 1 << 30
NONE = tables_of([], [])


def block(path: str, number: str, type: str = "disk", *children: Block, **fields: Any) -> Block:
    fields = {"kname": path, "size": GIB, **fields}
    return Block(name=path, number=number, type=type, children=list(children), **fields)


def disk(of: Block, hardware: Hardware = NO_HARDWARE, mounts: Any = (), swaps: Any = (), usage: Any = None) -> Disk:
    return disk_of(of, hardware, tables_of(mounts, swaps), usage or {})


def root_on_lvm() -> Block:
    root = block("/dev/mapper/vg-root", "252:0", "lvm", kname="/dev/dm-0", fstype="xfs")
    return block(
        "/dev/sda",
        "8:0",
        "disk",
        block("/dev/sda1", "8:1", "part", fstype="vfat", label="EFI"),
        block("/dev/sda2", "8:2", "part", root, fstype="LVM2_member"),
        block("/dev/sda3", "8:3", "part", root, fstype="LVM2_member"),
        block("/dev/sda4", "8:4", "part", block("/dev/mapper/safe", "252:1", "crypt"), fstype="crypto_LUKS"),
        pttype="gpt",
        rota=False,
        tran="sata",
        model=" SSD 860 ",
    )


def test_all_that_lies_on_a_disk_is_one_flat_list() -> None:
    mounts = [
        Mount("252:0", "/", "/", "xfs", "/dev/mapper/vg-root"),
        Mount("8:1", "/", "/boot/efi", "vfat", "/dev/sda1"),
    ]
    found = disk(root_on_lvm(), mounts=mounts, usage={"/": Space(30, 70)})
    assert (found.name, found.type, found.transport, found.model) == ("sda", "ssd", "sata", "SSD 860")
    assert [(part.name, part.type, part.parent, part.mount_point) for part in found.partitions] == [
        ("sda1", "part", "sda", "/boot/efi"),
        ("sda2", "part", "sda", ""),
        ("vg-root", "lvm", "sda2", "/"),
        ("sda3", "part", "sda", ""),  # the volume lies on it too, and is listed once
        ("sda4", "part", "sda", ""),
        ("safe", "crypt", "sda4", ""),
    ]
    root = found.partitions[2]
    assert (root.path, root.filesystem, root.used, root.available, root.use_percent) == (
        "/dev/mapper/vg-root",
        "xfs",
        30,
        70,
        30.0,
    )


def test_a_file_system_on_the_whole_disk_is_told_by_the_disk() -> None:
    mounts = [
        Mount("254:0", "/run/netns", "/run/netns", "ext4", "/dev/vda"),  # what `ip netns add` leaves
        Mount("254:0", "/", "/", "ext4", "/dev/vda"),
    ]
    found = disk(block("/dev/vda", "254:0", vendor="0x1af4", rota=True), mounts=mounts, usage={"/": Space(1, 3)})
    assert (found.filesystem, found.mount_point, found.mount_points) == ("ext4", "/", ["/"])
    assert (found.used, found.available, found.use_percent) == (1, 3, 25.0)
    assert (found.type, found.vendor, found.partitions) == ("hdd", "", [])


def test_what_is_known_of_the_hardware() -> None:
    hardware = Hardware("MODEL", "SERIAL", "virtio", "")
    found = disk(block("/dev/vda", "254:0"), hardware)
    assert (found.model, found.serial, found.transport) == ("MODEL", "SERIAL", "virtio")
    assert disk(block("/dev/sda", "8:0", serial="OWN"), hardware).serial == "OWN"


def test_kinds_of_disks() -> None:
    assert disk(block("/dev/nvme0n1", "259:0")).type == "nvme"
    assert disk(block("/dev/sr0", "11:0", "rom", rm=True)).type == "optical"
    assert disk(block("/dev/loop0", "7:0", "loop")).type == "loop"
    assert disk(block("/dev/md0", "9:0", "raid1")).type == "raid1"
    assert disk(block("/dev/cciss/c0d0", "104:0", rota=True)).name == "cciss/c0d0"


def test_swap() -> None:
    found = disk(block("/dev/sdb", "8:16"), swaps=[Swap("/dev/sdb", "8:16", 1000, 250)])
    assert (found.filesystem, found.mount_point, found.used, found.available, found.use_percent) == (
        "swap",
        "[SWAP]",
        250,
        750,
        25.0,
    )


def test_only_local_file_systems_are_measured_each_once() -> None:
    tables = tables_of(
        [
            Mount("252:0", "/", "/", "xfs", "/dev/mapper/vg-root"),
            Mount("252:0", "/", "/again", "xfs", "/dev/mapper/vg-root"),
            Mount("0:50", "/", "/net", "nfs4", "server:/export"),
        ],
        [],
    )
    assert set(tables.measurable([root_on_lvm()])) == {"/"}


def test_what_is_free() -> None:
    used = disk(root_on_lvm())
    half = block("/dev/sdb", "8:16", "disk", block("/dev/sdb1", "8:17", "part"), pttype="gpt")
    md = block("/dev/sdc", "8:32", "disk", block("/dev/md0", "9:0", "raid1"))
    read_only = block("/dev/sdd", "8:48", ro=True)
    empty = block("/dev/sde", "8:64", serial="S")
    table = block("/dev/sdf", "8:80", pttype="dos")
    optical = block("/dev/sr0", "11:0", "rom")
    disks = [used, *(disk(each) for each in (half, md, read_only, empty, table, optical))]
    assert [(free.name, free.serial) for free in free_among(disks)] == [("sdb1", ""), ("sde", "S")]
    mounted = disk(block("/dev/sdg", "8:96"), mounts=[Mount("8:96", "/", "/x", "", "/dev/sdg")])
    assert not list(free_among([mounted]))


class Devices:
    """In place of lsblk: counts how often it is asked, and answers when the test says."""

    has_udev = True

    def __init__(self) -> None:
        self.asked = 0
        self.blocks = [block("/dev/one", "900:0")]
        self.gate: Deferred[None] | None = None

    async def read(self) -> list[Block]:
        self.asked += 1
        blocks = list(self.blocks)
        if self.gate is not None:
            gate, self.gate = self.gate, None
            await gate
        return blocks


class Timed:
    """The real reactor with hands that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def seconds(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class CacheTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.devices = Devices()
        self.clock = Timed()
        self.disks = Disks(self.clock, Threads(reactor), self.devices)  # type: ignore[arg-type]
        await self.disks.start()
        self.addCleanup(self.disks.stop)

    async def names(self) -> list[str]:
        return [each.name for each in await self.disks.snapshot()]

    async def quiet(self) -> None:
        """Take note of what happens elsewhere on this machine."""
        await self.disks.snapshot()
        self.devices.asked = 0

    async def test_one_question_for_many(self) -> None:
        seen = await gatherResults([Deferred.fromCoroutine(self.disks.snapshot()) for _ in range(20)])
        self.assertLess(self.devices.asked, 3)
        self.assertTrue(all(each is seen[0] for each in seen))

    async def test_the_same_object_while_nothing_changes(self) -> None:
        first = await self.disks.snapshot()
        self.clock.now += USAGE_SECONDS + 0.1
        self.assertIs(await self.disks.snapshot(), first)

    async def test_our_own_change_is_seen_at_once(self) -> None:
        await self.quiet()
        self.devices.blocks.append(block("/dev/two", "900:1"))
        self.disks.forget()
        self.assertEqual(await self.names(), ["one", "two"])

    async def test_a_change_while_the_devices_are_read_is_not_lost(self) -> None:
        gate: Deferred[None] = Deferred()
        self.devices.gate = gate
        asked = Deferred.fromCoroutine(self.names())
        self.devices.blocks.append(block("/dev/two", "900:1"))
        self.disks.forget()
        gate.callback(None)
        self.assertEqual(await asked, ["one", "two"])

    async def test_a_device_that_comes_is_heard_of(self) -> None:
        await self.quiet()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        with loop(folder):
            await self.disks.snapshot()
            self.assertGreaterEqual(self.devices.asked, 1)

    async def test_devices_are_looked_at_now_and_then(self) -> None:
        await self.quiet()
        self.clock.now += DEVICES_SECONDS + 0.1
        await self.disks.snapshot()
        self.assertGreaterEqual(self.devices.asked, 1)

    async def test_without_udev_they_are_looked_at_often(self) -> None:
        self.devices.has_udev = False
        await self.quiet()
        self.clock.now += USAGE_SECONDS + 0.1
        await self.disks.snapshot()
        self.assertGreaterEqual(self.devices.asked, 1)

    async def test_a_clock_that_is_set_back_keeps_nothing(self) -> None:
        await self.quiet()
        self.clock.now -= 3600
        await self.disks.snapshot()
        self.assertGreaterEqual(self.devices.asked, 1)

    async def test_a_failure_is_told_and_tried_again(self) -> None:
        await self.quiet()
        gate: Deferred[None] = Deferred()
        self.devices.gate = gate
        self.disks.forget()
        asked = Deferred.fromCoroutine(self.names())
        gate.errback(Unavailable("no lsblk"))
        await self.assertFailure(asked, Unavailable)
        self.assertEqual(await self.names(), ["one"])
