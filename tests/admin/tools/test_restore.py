"""Restoring: all files or none, also when the process is killed at any point of it."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from appliance.admin.tools import restore, swap
from appliance.admin.tools.restore import RestoreError
from appliance.admin.tools.swap import Swap

# Runs the named function with a swap that kills the process at the n-th checkpoint.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
from appliance.admin.tools import restore
from appliance.admin.tools.swap import Swap
what, root, number, source = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
seen = 0
def checkpoint(point):
    global seen
    seen += 1
    if seen == number:
        os.kill(os.getpid(), signal.SIGKILL)
swap = Swap(root, checkpoint=checkpoint)
if what == "apply":
    restore.apply(source, root, swap=swap)
elif what == "install":
    restore.install(source, ["etc/gone.json"], swap=swap)
else:
    restore.recover(swap)
"""


def make_root(folder: Path) -> Path:
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/app.json").write_text("old app")
    (root / "etc/gone.json").write_text("goes")
    (root / "etc/other.json").write_text("stays")
    (root / "etc/link").symlink_to("other.json")
    return root


def make_archive(folder: Path, **members: str) -> Path:
    path = folder / "backup.tar"
    with tarfile.open(path, "w") as writer:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            writer.addfile(info, io.BytesIO(text.encode()))
        info = tarfile.TarInfo("etc/link")
        info.type, info.linkname = tarfile.SYMTYPE, "app.json"
        writer.addfile(info)
    return path


MEMBERS = {"etc/app.json": "new app", "etc/network.json": "new network", "data/deep/file": "new file"}


def state(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    } | {f"{path.relative_to(root)}/": "" for path in root.rglob("*") if path.is_dir()}


def run_killed(what: str, root: Path, number: int, source: Path) -> int:
    repository = str(Path(restore.__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", KILLED, repository, what, str(root), str(number), str(source)],
        capture_output=True,
        check=False,
    ).returncode


def test_apply_puts_the_files_in_place(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    restore.apply(str(make_archive(tmp_path, **MEMBERS)), str(root), swap=Swap(str(root)))
    assert state(root) == {
        "etc/": "",
        "data/": "",
        "data/deep/": "",
        "etc/app.json": "new app",
        "etc/network.json": "new network",
        "etc/gone.json": "goes",
        "etc/other.json": "stays",
        "etc/link": "-> app.json",
        "data/deep/file": "new file",
    }


def test_install_removes_and_keeps_its_folder(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (tmp_path / "new/etc").mkdir(parents=True)
    (tmp_path / "new/etc/app.json").write_text("new app")
    restore.install(str(tmp_path / "new"), ["etc/gone.json", "etc/never-there"], swap=Swap(str(root)))
    assert (root / "etc/app.json").read_text() == "new app"
    assert not (root / "etc/gone.json").exists()
    assert (tmp_path / "new/etc/app.json").read_text() == "new app"
    assert not (root / swap.WORK).exists()


@pytest.mark.parametrize("what", ["apply", "install"])
def test_killed_anywhere_it_is_all_old_or_all_new(tmp_path: Path, what: str) -> None:
    """Kill at each checkpoint; then kill the recovery at each of its own, and let the last one through."""
    source = make_archive(tmp_path, **MEMBERS)
    if what == "install":
        source = tmp_path / "new"
        (source / "etc").mkdir(parents=True)
        for name in ("app.json", "network.json"):
            (source / "etc" / name).write_text(f"new {name}")
    old = state(make_root(tmp_path / "old"))
    finished = tmp_path / "finished"
    new_root = make_root(finished)
    assert run_killed(what, new_root, 10_000, source) == 0
    new = state(new_root)
    results = []
    number = 0
    while True:
        number += 1
        root = make_root(tmp_path / f"killed-{number}")
        if run_killed(what, root, number, source) != -signal.SIGKILL:
            break
        for recovery in range(1, 100):
            if run_killed("recover", root, recovery, source) != -signal.SIGKILL:
                break
        found = state(root)
        assert found in (old, new), f"killed at point {number}"
        results.append(found == new)
        assert run_killed(what, root, 10_000, source) == 0
        assert state(root) == new
    # Until the moment that counts everything is old, from then on new.
    assert results == sorted(results)
    assert results.count(False) >= 5
    assert results.count(True) >= 1


def test_recover_is_nothing_where_nothing_was_left(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    before = state(root)
    restore.recover(Swap(str(root)))
    assert state(root) == before


@pytest.mark.parametrize(
    "name",
    [
        "etc/api.token",
        "etc/API.token.setup",
        "etc/appliance.key",
        "etc/updates.pub",
        "tls.key/x",
        "bin/wrapper.sh",
        "bin",
    ],
)
def test_an_archive_with_keys_or_protected_files_changes_nothing(tmp_path: Path, name: str) -> None:
    root = make_root(tmp_path)
    before = state(root)
    archive = make_archive(tmp_path, **{"etc/app.json": "new", name: "bad"})
    with pytest.raises(RestoreError, match="must not bring this"):
        restore.apply(str(archive), str(root), protected=[str(root / "bin")], swap=Swap(str(root)))
    assert state(root) == before


@pytest.mark.parametrize("target", ["../etc/updates.key", "../bin/x"])
def test_a_link_to_what_is_protected_is_refused(tmp_path: Path, target: str) -> None:
    root = make_root(tmp_path)
    path = tmp_path / "link.tar"
    with tarfile.open(path, "w") as writer:
        info = tarfile.TarInfo("etc/changelog.txt")
        info.type, info.linkname = tarfile.SYMTYPE, target
        writer.addfile(info)
    with pytest.raises(RestoreError, match="must not bring this"):
        restore.apply(str(path), str(root), protected=[str(root / "bin")], swap=Swap(str(root)))


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "etc/other.json/below", "etc"])
def test_a_bad_member_changes_nothing(tmp_path: Path, name: str) -> None:
    root = make_root(tmp_path)
    before = state(root)
    archive = make_archive(tmp_path, **{"etc2/app.json": "new", name: "bad"})
    with pytest.raises(RestoreError):
        restore.apply(str(archive), str(root), swap=Swap(str(root)))
    assert state(root) == before
    assert not (tmp_path / "outside").exists()


def test_a_folder_of_the_root_that_is_a_link_outside_is_not_followed(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    (tmp_path / "outside").mkdir()
    (root / "data").symlink_to(tmp_path / "outside")
    with pytest.raises(RestoreError, match=r"no directory|outside"):
        restore.apply(str(make_archive(tmp_path, **MEMBERS)), str(root), swap=Swap(str(root)))
    assert list((tmp_path / "outside").iterdir()) == []
    assert (root / "etc/app.json").read_text() == "old app"


def test_a_failure_half_way_puts_everything_back(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    before = state(root)

    def fail(point: str) -> None:
        if point == "step 1 new in place":
            raise OSError("the disk is gone")

    archive = make_archive(tmp_path, **MEMBERS)
    with pytest.raises(RestoreError, match="the disk is gone"):
        restore.apply(str(archive), str(root), swap=Swap(str(root), checkpoint=fail))
    assert state(root) == before


def test_files_on_another_file_system_are_prepared_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_root(tmp_path)
    before = state(root)
    monkeypatch.setattr(swap, "device_of", lambda path: int(path == str(root / "etc")))
    points: list[str] = []

    def fail(point: str) -> None:
        points.append(point)
        if point == "step 1 new in place" and points.count(point) == 1:
            assert list((root / "etc").glob(".appliance-swap-*"))
            raise OSError("stop")

    archive = make_archive(tmp_path, **MEMBERS)
    with pytest.raises(RestoreError, match="stop"):
        restore.apply(str(archive), str(root), swap=Swap(str(root), checkpoint=fail))
    assert state(root) == before
    restore.apply(str(make_archive(tmp_path, **MEMBERS)), str(root), swap=Swap(str(root)))
    assert (root / "etc/app.json").read_text() == "new app"
    assert os.readlink(root / "etc/link") == "app.json"
    assert not list(root.rglob(".appliance-swap*"))


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-S", restore.__file__, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_program(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    archive = make_archive(tmp_path, **MEMBERS)
    done = program("apply", str(archive), str(root), "--protect", str(root / "etc"))
    assert (done.returncode, (root / "etc/app.json").read_text()) == (1, "old app")
    assert json.dumps("etc/app.json") in done.stderr
    assert program("apply", str(archive), str(root)).returncode == 0
    assert (root / "etc/app.json").read_text() == "new app"
    assert program("recover", str(root)).returncode == 0
    assert program("recover", str(tmp_path / "missing")).returncode == 1
