from pathlib import Path

from appliance.host.storage.tables import parse_mounts, printable, read_mounts, read_swaps

# The first three lines as Linux 6 prints them; the others after proc(5).
MOUNTINFO = r"""27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
42 27 7:0 / /mnt/my\040disk\134 ro,noatime shared:3 master:1 - ext4 /dev/loop0 ro
43 27 254:0 /run/netns /run/netns rw,relatime - ext4 /dev/vda rw
44 27 0:52 /@home /home rw,relatime - btrfs /dev/null rw,subvol=/@home
45 27 0:53 / /srv/nfs rw - nfs4 server:/export rw
46 27 0:54 / /gone rw - fuseblk /dev/no-such-device rw
not a line
"""


def test_mounts() -> None:
    mounts = parse_mounts(MOUNTINFO.splitlines())
    assert [(each.number, each.root, each.mount_point, each.filesystem, each.source) for each in mounts] == [
        ("254:0", "/", "/", "ext4", "/dev/vda"),
        ("7:0", "/", "/mnt/my disk\\", "ext4", "/dev/loop0"),
        ("254:0", "/run/netns", "/run/netns", "ext4", "/dev/vda"),
        ("1:3", "/@home", "/home", "btrfs", "/dev/null"),  # the number of its source
        ("0:53", "/", "/srv/nfs", "nfs4", "server:/export"),
        ("0:54", "/", "/gone", "fuseblk", "/dev/no-such-device"),
    ]


def test_the_mounts_of_this_process() -> None:
    assert any(mount.mount_point == "/" for mount in read_mounts())


def test_bytes_that_are_no_text_are_kept_and_shown_replaced(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"42 27 7:0 / /mnt/\xff ro - ext4 /dev/loop0 ro\n")
    (mount,) = read_mounts(table)
    assert mount.mount_point == "/mnt/\udcff"
    assert printable(mount.mount_point) == "/mnt/\ufffd"


def test_swap_areas(tmp_path: Path) -> None:
    table = tmp_path / "swaps"
    table.write_text(
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/null                               partition\t30716\t\t16\t\t-2\n"
        "/swap\\040file                            file\t\t1024\t\t0\t\t-3\n"
    )
    device, file = read_swaps(table)
    assert (device.path, device.number, device.size, device.used) == ("/dev/null", "1:3", 30716 * 1024, 16 * 1024)
    assert (file.path, file.number, file.size) == ("/swap file", "", 1024 * 1024)


def test_a_kernel_without_swap(tmp_path: Path) -> None:
    assert read_swaps(tmp_path / "missing") == []
