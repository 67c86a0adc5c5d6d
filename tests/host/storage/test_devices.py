import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host.errors import Invalid, Unknown
from appliance.host.storage.devices import resolve
from tests.support.loops import loop, partition


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of ours within /dev."""
    folder = Path(f"/dev/shm/appliance-test-{os.getpid()}")
    folder.mkdir()
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_device_by_itself_and_by_a_link(tmp_path: Path, shared: Path) -> None:
    with loop(tmp_path) as disk:
        (part,) = partition(disk, 20)
        whole, found = resolve(disk), resolve(part)
        assert (whole.path, whole.is_partition, whole.size, whole.is_read_only) == (disk, False, 64 << 20, False)
        assert (found.path, found.is_partition, found.size) == (part, True, 20 << 20)
        assert found.folder.parent == whole.folder
        (shared / "link").symlink_to(part)
        assert resolve(f"{shared}/link") == found
        assert resolve(f"/dev//{part.removeprefix('/dev/')}") == found


def test_a_read_only_device(tmp_path: Path) -> None:
    with loop(tmp_path, 64, "--read-only") as disk:
        assert resolve(disk).is_read_only


def test_what_is_no_device(tmp_path: Path, shared: Path) -> None:
    (shared / "file").write_text("")
    (shared / "away").symlink_to(tmp_path)
    (shared / "loop").symlink_to("loop")
    plain = tmp_path / "disk.img"
    plain.write_text("")
    wrong = [
        *("", "vda", "./vda", "/dev", "/dev/", "/dev/../etc/passwd", "/etc/passwd", str(plain), "-a", "LABEL=x"),
        *("/dev/null", "/dev/shm", f"{shared}/file", f"{shared}/away", f"{shared}/loop"),
        *("/dev/vda\n", "/dev/v\x1bda", "/dev/" + "x" * 2000),
    ]
    for path in wrong:
        with pytest.raises(Invalid) as refused:
            resolve(path)
        assert refused.value.field == "device", path


def test_what_does_not_exist(shared: Path) -> None:
    (shared / "dangling").symlink_to("/dev/no-such-device")
    for path in ("/dev/no-such-device", "/dev/null/x", f"{shared}/dangling"):
        with pytest.raises(Unknown):
            resolve(path)


def test_a_node_without_a_device(shared: Path) -> None:
    node = shared / "stale"
    os.mknod(node, 0o600 | 0o060000, os.makedev(240, 77))  # a number for local use
    with pytest.raises(Unknown):
        resolve(str(node))
