"""Arrays, iSCSI and multipath, from folders made after the kernel's documentation: this kernel has none of them."""

from collections.abc import Mapping
from pathlib import Path

from appliance.host.storage.arrays import iscsi_sessions, multipath_devices, raid_devices

# After Documentation/admin-guide/md.rst: an array of two that is being rebuilt onto its spare.
RAID = {
    "size": "1953260544",
    "md/level": "raid1",
    "md/array_state": "active",
    "md/raid_disks": "2",
    "md/degraded": "1",
    "md/sync_action": "recover",
    "md/sync_completed": "488315136 / 1953260544",
    "md/chunk_size": "0",
    "md/metadata_version": "1.2",
    "md/dev-sda1/state": "in_sync",
    "md/dev-sda1/slot": "0",
    "md/dev-sdb1/state": "spare",
    "md/dev-sdb1/slot": "none",
}


def write(folder: Path, contents: Mapping[str, str]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def test_a_machine_without_any(tmp_path: Path) -> None:
    write(tmp_path / "block/sda", {"size": "100"})
    assert [*raid_devices(tmp_path), *iscsi_sessions(tmp_path), *multipath_devices(tmp_path)] == []
    assert raid_devices(tmp_path / "missing") == []


def test_an_array(tmp_path: Path) -> None:
    write(tmp_path / "block/md127", RAID)
    write(tmp_path / "block/md0", {**RAID, "md/sync_completed": "none", "md/sync_action": "idle"})
    idle, array = raid_devices(tmp_path)
    assert (array.name, array.path, array.level, array.state) == ("md127", "/dev/md127", "raid1", "active")
    assert (array.size, array.raid_disks, array.degraded) == (1953260544 * 512, 2, 1)
    assert (array.sync_action, array.sync_percent, array.metadata_version) == ("recover", 25.0, "1.2")
    assert [(member.path, member.state, member.slot) for member in array.members] == [
        ("/dev/sda1", "in_sync", "0"),
        ("/dev/sdb1", "spare", ""),
    ]
    assert (idle.name, idle.sync_action, idle.sync_percent) == ("md0", "idle", 0.0)


def test_a_session(tmp_path: Path) -> None:
    device = tmp_path / "devices/platform/host3/session1"
    connection = "connection1:0/iscsi_connection/connection1:0"
    write(
        device,
        {
            "iscsi_session/session1/targetname": "iqn.2003-01.org.linux-iscsi:disk",
            "iscsi_session/session1/tpgt": "1",
            "iscsi_session/session1/state": "LOGGED_IN",
            f"{connection}/persistent_address": "fd00::5",
            f"{connection}/persistent_port": "3260",
            "target3:0:0/3:0:0:0/block/sdc/size": "2048",
            "target3:0:0/3:0:0:1/block/sdd/size": "2048",
        },
    )
    (device / "iscsi_session/session1/device").symlink_to(device)
    (tmp_path / "class/iscsi_session").mkdir(parents=True)
    (tmp_path / "class/iscsi_session/session1").symlink_to(device / "iscsi_session/session1")
    (session,) = iscsi_sessions(tmp_path)
    assert (session.id, session.target, session.tpgt) == ("session1", "iqn.2003-01.org.linux-iscsi:disk", "1")
    assert (session.portal, session.state, session.disks) == ("[fd00::5]:3260", "LOGGED_IN", ["/dev/sdc", "/dev/sdd"])


def test_a_multipath_device(tmp_path: Path) -> None:
    write(
        tmp_path / "block/dm-0", {"dm/name": "mpatha", "dm/uuid": "mpath-3600a0b", "dm/suspended": "0", "size": "2048"}
    )
    write(tmp_path / "block/dm-1", {"dm/name": "vg-root", "dm/uuid": "LVM-x", "size": "2048"})
    for disk, state in (("sda", "running"), ("sdb", "offline")):
        write(tmp_path / "block" / disk, {"device/state": state})
        (tmp_path / "block/dm-0/slaves").mkdir(exist_ok=True)
        (tmp_path / "block/dm-0/slaves" / disk).symlink_to(tmp_path / "block" / disk)
    (device,) = multipath_devices(tmp_path)
    assert (device.name, device.path, device.uuid) == ("mpatha", "/dev/mapper/mpatha", "3600a0b")
    assert (device.size, device.state) == (1 << 20, "active")
    assert [(path.path, path.state) for path in device.paths] == [("/dev/sda", "running"), ("/dev/sdb", "offline")]
