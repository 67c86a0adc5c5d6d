import os
import stat
from pathlib import Path

import pytest

from appliance.files import (
    FileTooLarge,
    NotARegularFile,
    fsync_directory,
    read_limited,
    remove_temporaries,
    replace,
    write_atomic,
)


def test_writes_content_and_exact_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "a", b"one", mode=0o644)
        write_atomic(tmp_path / "b", b"two")
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_overwrites_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"old" * 100)
    write_atomic(path, b"")
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == [path.name]


def test_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"untouched")
    link.symlink_to(target)
    write_atomic(link, b"new")
    assert target.read_bytes() == b"untouched" and not link.is_symlink() and link.read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "rename", "fchmod"])
def test_failure_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="disk full"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_syncs_file_then_renames_then_syncs_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        order.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def rename(source: str, destination: str) -> None:
        order.append("rename")
        real_rename(source, destination)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    write_atomic(tmp_path / "a", b"x")
    assert order == ["file", "rename", "directory"]
    order.clear()
    (tmp_path / "sub").mkdir()
    replace(tmp_path / "a", tmp_path / "sub" / "a")
    assert order == ["rename", "directory", "directory"]


def test_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "a", b"x")
    with pytest.raises(FileNotFoundError):
        fsync_directory(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "missing", tmp_path / "b")


def test_reads_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    assert read_limited(path, 1000) == b"x" * 1000
    with pytest.raises(FileTooLarge, match="larger than 999 bytes"):
        read_limited(path, 999)
    path.write_bytes(b"")
    assert read_limited(path, 0) == b""


def test_reads_files_that_state_no_size() -> None:
    assert read_limited("/proc/self/status", 1 << 20).startswith(b"Name:")


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotARegularFile, match="pipe"):
        read_limited(tmp_path / "pipe", 10)
    with pytest.raises(NotARegularFile):
        read_limited(tmp_path, 10)
    with pytest.raises(NotARegularFile):
        read_limited("/dev/zero", 10)


def test_what_a_killed_write_left_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in (".appliance.key.0123456789ab.tmp", ".upload-1", "a.tmp", ".x.tmp", ".b.0123456789ab.tmp.keep"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".b.0123456789ab.tmp.keep",
        ".upload-1",
        ".x.tmp",
        "a.tmp",
    ]
