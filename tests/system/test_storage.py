"""Disks that are formatted, mounted and refused over real HTTPS, seen with the system's own tools."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import audited
from tests.support.loops import loop, partition, run, signature, swapped_to
from tests.support.machine import SystemServer, system_server
from tests.support.processes import all_processes, shown_of
from tests.support.server import Answer

WAITING = "while [ ! -e /run/go ]; do sleep 0.05; done"
ROOT_DISK = "/dev/" + os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(os.stat('/').st_dev)}:0"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("storage")) as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    with loop(tmp_path, 400) as device:
        yield device


def format_as(server: SystemServer, device: str, filesystem: str = "ext4", *headers: str, **more: str) -> Answer:
    return server.api("POST", "/storage/format", {"device": device, "filesystem": filesystem, **more}, *headers)


def mount(server: SystemServer, device: str, mount_point: str = "/mnt/data", **more: object) -> Answer:
    return server.api("POST", "/storage/mount", {"device": device, "mount_point": mount_point, **more})


def unmount(server: SystemServer, mount_point: str = "/mnt/data", **more: object) -> Answer:
    return server.api("POST", "/storage/unmount", {"mount_point": mount_point, **more})


@contextlib.contextmanager
def wrapped(server: SystemServer, folder: Path, program: str, first: str) -> Iterator[None]:
    """Have the server meet the real program behind a line of shell; `WAITING` lets it wait for `touch /run/go`."""
    run_inside = server.machine.run
    place = run_inside("sh", "-c", f"readlink -f $(command -v {program})").stdout.strip()
    real, wrapper = folder / program, folder / "wrapper"
    run("cp", place, str(real))
    wrapper.write_text(f'#!/bin/sh\n{first}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    run_inside("mount", "--bind", str(wrapper), place)
    try:
        yield
    finally:
        run_inside("touch", "/run/go")
        run_inside("umount", place)
        run_inside("rm", "/run/go")


def shown(server: SystemServer, device: str) -> Any:
    """The entry of a disk in the list."""
    (found,) = [each for each in server.data("/storage/disks")["disks"] if each["path"] == device]
    return found


def refused(answer: Answer, *statuses: int) -> str:
    """The message of a refusal, which has one of those statuses."""
    assert answer.status in statuses, answer
    assert answer.json["status"] == "error"
    message: str = answer.json["error"]["message"]
    return message


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_disk_is_formatted_mounted_and_unmounted(server: SystemServer, disk: str, filesystem: str) -> None:
    answer = format_as(server, disk, filesystem, label="DATA")
    assert answer.status == 200, answer
    assert (answer.json["data"]["job"]["status"], answer.json["data"]["job"]["object"]) == ("success", disk)
    assert (signature(disk), signature(disk, "LABEL")) == (filesystem, "DATA")
    answer = mount(server, disk, filesystem=filesystem, options="rw,noatime")
    assert answer.status == 200, answer
    try:
        (found,) = server.machine.json("findmnt", "-J", "/mnt/data")["filesystems"]
        assert (found["source"], found["fstype"]) == (disk, filesystem)
        assert {"rw", "noatime", "nosuid", "nodev"} <= set(found["options"].split(","))
        entry = shown(server, disk)
        assert (entry["filesystem"], entry["label"], entry["uuid"]) == (filesystem, "DATA", signature(disk, "UUID"))
        assert (entry["mount_point"], entry["mount_points"]) == ("/mnt/data", ["/mnt/data"])
        assert entry["size"] == 400 << 20
        space = os.statvfs(f"/proc/{server.machine.pid}/root/mnt/data")
        assert abs(entry["available"] - space.f_bavail * space.f_frsize) < 1 << 20
        assert "already" in refused(mount(server, disk), 409)
        assert refused(format_as(server, disk), 409) == f"{disk} is mounted at /mnt/data"
        assert signature(disk) == filesystem
    finally:
        answer = unmount(server)
    assert answer.status == 200, answer
    assert server.machine.run("findmnt", "/mnt/data", check=False).returncode == 1
    assert shown(server, disk)["mount_point"] == ""
    assert refused(unmount(server), 404)


@pytest.mark.parametrize("filesystem", ["ext2", "ext3", "vfat"])
def test_the_other_file_systems(server: SystemServer, disk: str, filesystem: str) -> None:
    assert format_as(server, disk, filesystem, label="OTHER").status == 200
    assert (signature(disk), signature(disk, "LABEL")) == (filesystem, "OTHER")


def test_the_fields_of_a_disk(server: SystemServer, disk: str) -> None:
    first, second = partition(disk, 20, 30)
    run("mkfs.ext4", "-q", "-L", "ONE", first)
    answer = mount(server, first)
    assert answer.status == 200, answer
    try:
        entry = shown(server, disk)
        # Those of the reference and of the contract, and those for file systems on whole disks.
        assert entry.keys() >= {"name", "path", "size", "model", "serial", "removable", "type", "partitions"}
        assert (entry["name"], entry["path"], entry["type"]) == (disk.removeprefix("/dev/"), disk, "loop")
        assert (entry["partition_table"], entry["removable"], entry["read_only"]) == ("gpt", False, False)
        one, two = entry["partitions"]
        assert (one["name"], one["path"], one["size"]) == (first.removeprefix("/dev/"), first, 20 << 20)
        assert (one["filesystem"], one["label"], one["mount_point"]) == ("ext4", "ONE", "/mnt/data")
        df = server.machine.run("df", "-B1", "--output=used,avail", "/mnt/data").stdout.split()
        assert [one["used"], one["available"]] == list(map(int, df[-2:]))
        assert one["use_percent"] == round(100 * one["used"] / (one["used"] + one["available"]), 1)
        assert (two["path"], two["filesystem"], two["mount_point"], two["used"]) == (second, "", "", 0)
        free = [each["path"] for each in server.data("/storage/raid/available-disks")["disks"]]
        assert second in free
        assert disk not in free and first not in free
    finally:
        assert unmount(server).status == 200


def test_what_is_in_use_is_not_formatted(server: SystemServer, disk: str) -> None:
    """A mounted partition, the disk it is a part of, links to both; a swap area, used and at rest."""
    first, second = partition(disk, 40, 40)
    run("mkfs.ext4", "-q", first)
    links = [Path(f"/dev/appliance-test-{os.getpid()}-{number}") for number in range(2)]
    links[0].symlink_to(first)
    links[1].symlink_to(disk)
    tables = ("/proc/partitions", "/proc/swaps", "/proc/self/mounts")
    try:
        with swapped_to(second):
            assert mount(server, first).status == 200
            before = server.machine.run("cat", *tables).stdout
            for device in (first, disk, *map(str, links)):
                assert refused(format_as(server, device), 409) == f"{first} is mounted at /mnt/data"
            assert refused(format_as(server, second), 409) == f"{second} is in use as swap space"
            assert server.machine.run("cat", *tables).stdout == before
            assert unmount(server).status == 200
            assert refused(format_as(server, disk), 409) == f"{second} is in use as swap space"
        for device in (second, disk):
            assert "is a swap area" in refused(format_as(server, device), 409)
        assert (signature(first), signature(second)) == ("ext4", "swap")
        assert format_as(server, str(links[0]), "ext2").status == 200  # a link by itself is no reason
        assert signature(first) == "ext2"
    finally:
        for link in links:
            link.unlink()


@pytest.mark.parametrize(
    "device",
    ["", "/etc/passwd", "--help", "/dev/null", "/dev/../etc/passwd", "sda", "/dev", "/dev/sda\n", "/dev/" + "x" * 2000],
)
def test_what_is_no_disk_is_not_formatted(server: SystemServer, device: str) -> None:
    before = Path("/etc/passwd").read_bytes()
    for send in (format_as, mount):
        assert "device" in refused(send(server, device), 400)
    assert Path("/etc/passwd").read_bytes() == before


def test_a_plain_file_is_not_formatted(server: SystemServer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\0" * (4 << 20))
    link = Path(f"/dev/appliance-test-{os.getpid()}")
    for path in (file, link):
        if path is link:
            link.symlink_to(file)
        try:
            for send in (format_as, mount):
                assert "device" in refused(send(server, str(path)), 400)
        finally:
            link.unlink(missing_ok=True)
    assert not file.read_bytes().strip(b"\0")


def test_a_disk_that_is_not_there(server: SystemServer) -> None:
    for send in (format_as, mount):
        assert refused(send(server, "/dev/nosuchdisk"), 404)


def test_the_disk_of_the_root(server: SystemServer) -> None:
    assert "is mounted at" in refused(format_as(server, ROOT_DISK), 409)


@pytest.mark.parametrize(
    ("filesystem", "label", "field"),
    [("zfs", "", "filesystem"), ("ntfs", "", "filesystem"), ("ext4", "x" * 17, "label"), ("xfs", "x" * 13, "label"),
     ("vfat", "a/b", "label"), ("ext4", "a\nb", "label"), ("ext4", " a", "label"), ("btrfs", "x" * 300, "label")],
)  # fmt: skip
def test_a_format_that_cannot_be(server: SystemServer, disk: str, filesystem: str, label: str, field: str) -> None:
    assert field in refused(format_as(server, disk, filesystem, label=label), 400)
    assert signature(disk) == ""


def test_a_disk_that_is_too_small(server: SystemServer, tmp_path: Path) -> None:
    with loop(tmp_path, 16) as disk:
        assert "too small" in refused(format_as(server, disk, "xfs"), 409)
        assert signature(disk) == ""


def test_a_label_is_no_option(server: SystemServer, disk: str) -> None:
    assert format_as(server, disk, "ext4", label="-O ^64bit").status == 200
    assert signature(disk, "LABEL") == "-O ^64bit"


def ended(server: SystemServer, where: str) -> Any:
    """The job once it runs no more."""
    deadline = time.monotonic() + 60
    while (job := server.data(where)["job"])["status"] == "running":
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job


def begin(server: SystemServer, device: str) -> str:
    """Begin a format without waiting; the path of its job."""
    answer = format_as(server, device, "xfs", "Prefer: respond-async")
    assert answer.status == 202, answer
    assert answer.headers["preference-applied"] == "respond-async"
    where = answer.headers["location"].removeprefix("/api/v1")
    assert where == f"/jobs/{answer.json['data']['job']['id']}"
    return where


def test_a_format_that_nobody_waits_for_outlives_the_server(server: SystemServer, disk: str, tmp_path: Path) -> None:
    with wrapped(server, tmp_path, "mkfs.xfs", WAITING):
        where = begin(server, disk)
        job = server.data(where)["job"]
        assert (job["status"], job["object"], job["kind"]) == ("running", disk, "format")
        server.server.kill()
        server.server.start()
        assert server.data(where, who="reader")["job"]["status"] == "running"
        assert "running" in refused(format_as(server, disk), 409)
        server.machine.run("touch", "/run/go")
        job = ended(server, where)
        assert (job["status"], job["percentage"], job["message"]) == ("success", 100, f"Formatted {disk} as xfs")
        assert signature(disk) == "xfs"


def test_a_format_that_is_interrupted(server: SystemServer, disk: str, tmp_path: Path) -> None:
    """Its program and its supervisor are killed, with the server away and without."""
    for away in (False, True):
        with wrapped(server, tmp_path, "mkfs.xfs", WAITING):
            where = begin(server, disk)
            folder = server.server.state / "jobs" / where.removeprefix("/jobs/").replace("-", "/")
            if away:
                server.server.kill()
            for mark in (f"supervisor.py\0{folder}", f"--\0{disk}"):
                pids = [pid for pid in all_processes() if mark.encode() in shown_of(pid)]
                assert pids
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
            if away:
                server.server.start()
            job = ended(server, where)
        assert (job["status"], job["percentage"]) == ("interrupted", None)
        assert "uncertain" in job["message"]
        assert format_as(server, disk, "ext4").status == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("echo 'mkfs.xfs: cannot open the device: Input/output error' >&2; exit 1", 503),
        ("echo 'mkfs.xfs: the device is busy' >&2; exit 1", 409),
        ("kill -9 $$", 503),
    ],
)
def test_a_format_that_fails(server: SystemServer, disk: str, tmp_path: Path, line: str, status: int) -> None:
    with wrapped(server, tmp_path, "mkfs.xfs", line):
        message = refused(format_as(server, disk, "xfs"), status)
    assert message.startswith(f"{disk} could not be formatted as xfs: ")
    assert "mkfs.xfs: " in message or "signal 9" in message
    assert audited(server.server.state, "storage.format")[-1][3] == f"refused: {message}"
    assert format_as(server, disk, "xfs").status == 200


def test_a_program_that_is_not_installed(server: SystemServer, disk: str) -> None:
    place = server.machine.run("sh", "-c", "readlink -f $(command -v mkfs.btrfs)").stdout.strip()
    server.machine.run("mount", "--bind", "/dev/null", place)
    try:
        assert "not installed" in refused(format_as(server, disk, "btrfs"), 503)
    finally:
        server.machine.run("umount", place)
    assert signature(disk) == ""


def test_a_disk_with_partitions_that_nothing_uses(server: SystemServer, disk: str) -> None:
    partition(disk, 20, 20)
    assert format_as(server, disk, "ext4").status == 200
    assert signature(disk) == "ext4"
    assert signature(disk, "PTTYPE") == ""
    assert shown(server, disk)["partitions"] == []


def test_a_disk_that_cannot_be_written(server: SystemServer, tmp_path: Path) -> None:
    with loop(tmp_path, 64) as disk:
        run("mkfs.ext4", "-q", disk)
        run("blockdev", "--setro", disk)
        try:
            assert "read-only" in refused(format_as(server, disk), 409)
            answer = mount(server, disk)
            assert answer.status == 200, answer
            assert answer.json["data"]["message"] == f"Mounted {disk} at /mnt/data, read-only"
            assert unmount(server).status == 200
        finally:
            run("blockdev", "--setrw", disk)


@pytest.mark.parametrize("id", ["format-99999999", "format-1", "nothing", "update-00000001", "..%2F..%2Fetc%2Fpasswd"])
def test_a_job_that_is_none(server: SystemServer, id: str) -> None:
    refused(server.api("GET", f"/jobs/{id}"), 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mount_point", ""),
        ("mount_point", "mnt/data"),
        ("mount_point", "/mnt/../etc"),
        ("mount_point", "/mnt/./data"),
        ("mount_point", "/mnt/da\nta"),
        ("mount_point", "/" + "x" * 300),
        *(("mount_point", place) for place in ("/", "/etc", "/etc/x", "/usr/bin", "/proc/1", "/dev/shm", "/var")),
        ("filesystem", "nfs"),
        ("filesystem", "fuse"),
        ("filesystem", "ext4,xfs"),
        ("options", "suid"),
        ("options", "dev"),
        ("options", "loop"),
        ("options", "remount"),
        ("options", "bind"),
        ("options", "x-systemd.automount"),
        ("options", "helper=/tmp/x"),
        ("options", "errors=panic"),
        ("options", "noatime -o suid"),
        ("options", "ro\nsuid"),
        ("options", "uid=0"),
        ("options", "x" * 2000),
    ],
)  # fmt: skip
def test_a_mount_that_cannot_be(server: SystemServer, disk: str, field: str, value: str) -> None:
    run("mkfs.ext4", "-q", disk)
    before = server.machine.run("findmnt", "-rn").stdout
    body = {"device": disk, "mount_point": "/mnt/data", "filesystem": "ext4", field: value}
    assert field in refused(server.api("POST", "/storage/mount", body), 400)
    assert server.machine.run("findmnt", "-rn").stdout == before


def test_mounts_that_meet_something(server: SystemServer, disk: str) -> None:
    inside = server.machine.run
    assert "No file system" in refused(mount(server, disk), 409)
    assert "no sound xfs" in refused(mount(server, disk, "/mnt/a/b", filesystem="xfs"), 409)
    assert inside("test", "-e", "/mnt/a", check=False).returncode == 1  # made, and taken away again
    run("mkfs.ext4", "-q", disk)
    inside("mkdir", "-p", "/mnt/full/inner")
    assert "not empty" in refused(mount(server, disk, "/mnt/full"), 409)
    inside("ln", "-s", "/etc", "/mnt/link")
    for point in ("/mnt/link", "/mnt/link/x"):
        assert "symbolic link" in refused(mount(server, disk, point), 400)
    inside("touch", "/mnt/file")
    assert refused(mount(server, disk, "/mnt/file"), 409)
    inside("chown", "reader", "/mnt/full/inner")
    assert "users other than root" in refused(mount(server, disk, "/mnt/full/inner/deep"), 400)
    for point in ("/mnt/full/inner/deep", "/etc/x"):
        assert inside("test", "-e", point, check=False).returncode == 1
    assert inside("findmnt", disk, check=False).returncode == 1


def test_what_is_in_use_is_not_unmounted(server: SystemServer, disk: str) -> None:
    run("mkfs.ext4", "-q", disk)
    assert mount(server, disk).status == 200
    user = subprocess.Popen(
        [*server.machine.prefix, "sh", "-c", "cd /mnt/data && echo there && exec sleep 600"], stdout=subprocess.PIPE
    )
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == b"there\n"
        for force in (False, True):
            assert "in use" in refused(unmount(server, force=force), 409)
        assert server.machine.run("findmnt", "-rno", "SOURCE", "/mnt/data").stdout.strip() == disk
    finally:
        user.kill()
        user.communicate()
        assert unmount(server).status == 200


@pytest.mark.parametrize(
    "point",
    ["-a", "--all", "-l", "", "/", "/proc", "/mnt/../etc", "/etc", "/run", "/mnt", "/nosuchplace", "mnt", ROOT_DISK],
)
def test_what_is_no_mount_of_ours_is_not_unmounted(server: SystemServer, point: str) -> None:
    before = server.machine.run("findmnt", "-rn").stdout
    refused(unmount(server, point), 400, 404, 409)
    assert server.machine.run("findmnt", "-rn").stdout == before


@pytest.mark.parametrize("path", ["/storage/format", "/storage/mount", "/storage/unmount"])
@pytest.mark.parametrize("body", [None, {}, [], {"device": 7}, {"mount_point": None, "device": "/dev/null"}])
def test_bodies_that_are_none(server: SystemServer, path: str, body: object) -> None:
    answer = server.api("POST", path, body)
    refused(answer, 400)
    assert answer.json["error"]["code"] == "VALIDATION_ERROR"


def test_what_is_read_only_is_empty_or_true(server: SystemServer) -> None:
    assert server.data("/storage/lvm/vgs") == {"volume_groups": []}
    assert server.data("/storage/lvm/lvs") == {"logical_volumes": []}
    assert server.data("/storage/lvm/pvs") == {"physical_volumes": []}
    assert server.data("/storage/raid/devices") == {"devices": []}
    assert server.data("/storage/iscsi/sessions") == {"sessions": []}
    assert server.data("/storage/multipath/devices") == {"devices": []}


def test_others_see_the_disks(server: SystemServer) -> None:
    assert server.data("/storage/disks", who="reader") == server.data("/storage/disks")


def test_every_change_is_audited(server: SystemServer, disk: str) -> None:
    format_as(server, disk, "ext4")
    mount(server, disk)
    unmount(server)
    unmount(server, "/mnt/nothing")
    path = server.server.state
    format_entry, mount_entry = audited(path, "storage.format")[-1], audited(path, "storage.mount")[-1]
    assert format_entry[:4] == ("session", "admin", disk, "success")
    assert '"ext4"' in format_entry[4]
    assert mount_entry[:4] == ("session", "admin", disk, "success")
    assert '"/mnt/data"' in mount_entry[4]
    done, refusal = audited(path, "storage.unmount")[-2:]
    assert done[:4] == ("session", "admin", "/mnt/data", "success")
    assert refusal[2:4] == ("/mnt/nothing", "refused: Nothing is mounted at /mnt/nothing")
