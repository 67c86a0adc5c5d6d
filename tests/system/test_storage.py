"""Disks that are formatted, mounted and refused over real HTTPS, seen with the system's own tools."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("storage")) as server:
        yield server


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A loop device of 700 MB over a file with holes."""
    image = tmp_path / "disk.img"
    subprocess.run(["truncate", "-s", "700M", image], check=True)
    attached = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True)
    device = attached.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_disk_is_formatted_mounted_and_unmounted(server: SystemServer, loop: str, filesystem: str) -> None:
    run = server.machine.run
    body = {"device": loop, "filesystem": filesystem, "label": "DATA"}
    assert server.api("POST", "/storage/format", body).status == 200
    assert run("blkid", "-p", "-s", "TYPE", "-o", "value", loop).stdout.strip() == filesystem
    assert run("blkid", "-p", "-s", "LABEL", "-o", "value", loop).stdout.strip() == "DATA"
    mount = {"device": loop, "mount_point": "/mnt/data", "filesystem": filesystem, "options": "rw,noatime"}
    assert server.api("POST", "/storage/mount", mount).status == 200
    try:
        (found,) = server.machine.json("findmnt", "-J", "/mnt/data")["filesystems"]
        assert (found["source"], found["fstype"]) == (loop, filesystem)
        assert "noatime" in found["options"]
        (disk,) = [each for each in server.data("/storage/disks")["disks"] if each["path"] == loop]
        assert (disk["filesystem"], disk["mount_point"], disk["size"]) == (filesystem, "/mnt/data", 700 << 20)
        assert server.api("POST", "/storage/mount", mount).status == 409
        for refused in (loop, str(Path("/dev/block") / "7:0")):
            answer = server.api("POST", "/storage/format", {"device": refused, "filesystem": "ext4"})
            assert answer.status in (404, 409)
        assert run("blkid", "-p", "-s", "TYPE", "-o", "value", loop).stdout.strip() == filesystem
    finally:
        assert server.api("POST", "/storage/unmount", {"mount_point": "/mnt/data"}).status == 200
    assert run("findmnt", "/mnt/data", check=False).returncode == 1


def test_a_format_that_nobody_waits_for(server: SystemServer, loop: str) -> None:
    body = {"device": loop, "filesystem": "ext4"}
    answer = server.api("POST", "/storage/format", body, "Prefer: respond-async")
    assert answer.status == 202
    place = answer.headers["location"].removeprefix("/api/v1")
    while (job := server.data(place)["job"])["status"] == "running":
        pass
    assert (job["status"], job["percentage"], job["object"]) == ("success", 100, loop)


@pytest.mark.parametrize(
    "device", ["/dev/null", "/etc/passwd", "--help", "", "/dev/../etc/passwd", "/dev/nosuchdisk", "/dev/vda"]
)
def test_what_is_no_free_disk_is_not_formatted(server: SystemServer, device: str) -> None:
    answer = server.api("POST", "/storage/format", {"device": device, "filesystem": "ext4"})
    assert answer.status in (400, 404, 409)
    assert answer.json["status"] == "error"


def test_swap_is_not_formatted(server: SystemServer, loop: str) -> None:
    server.machine.run("mkswap", loop)
    assert server.api("POST", "/storage/format", {"device": loop, "filesystem": "ext4"}).status == 409
    assert server.machine.run("blkid", "-p", "-s", "TYPE", "-o", "value", loop).stdout.strip() == "swap"


@pytest.mark.parametrize("point", ["-a", "--all", "", "/", "/proc", "/mnt/../etc", "/etc", "/nosuchplace", "mnt"])
def test_what_is_no_mount_of_ours_is_not_unmounted(server: SystemServer, point: str) -> None:
    before = server.machine.run("findmnt", "-rn").stdout
    assert server.api("POST", "/storage/unmount", {"mount_point": point}).status in (400, 404, 409)
    assert server.machine.run("findmnt", "-rn").stdout == before


def test_what_is_read_only_is_empty_or_true(server: SystemServer) -> None:
    assert server.data("/storage/lvm/vgs") == {"volume_groups": []}
    assert server.data("/storage/lvm/lvs") == {"logical_volumes": []}
    assert server.data("/storage/lvm/pvs") == {"physical_volumes": []}
    assert server.data("/storage/raid/devices") == {"devices": []}
    assert server.data("/storage/iscsi/sessions") == {"sessions": []}
    assert server.data("/storage/multipath/devices") == {"devices": []}
