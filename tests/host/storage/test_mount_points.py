import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Conflict, Invalid
from appliance.host.storage.mount_points import is_of_the_system, parse, prepare, remove


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/mnt/data", "/mnt/data"),
        ("//mnt///data/", "/mnt/data"),
        ("/srv/my disk", "/srv/my disk"),
        ("/srv/größe", "/srv/größe"),
        ("/srv/...", "/srv/..."),
        ("/", "/"),
    ],
)
def test_paths(path: str, clean: str) -> None:
    assert parse(path) == clean


@pytest.mark.parametrize(
    "path",
    [
        *("", "mnt", "-a", "--all", "./mnt", "../mnt", "~/x", "LABEL=x", "UUID=1"),
        *("/mnt/..", "/mnt/../etc", "/mnt/./x", "/..", "/.", "/mnt/a\nb", "/mnt/\0", "/mnt/\x7f", "/mnt/\t"),
        *("/mnt/" + "x" * 256, "/mnt/" + "ö" * 128, "/a" * 65),
    ],
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(path)
    assert refused.value.field == "mount_point"


@given(st.text(max_size=40))
def test_what_is_a_path_stays_one(text: str) -> None:
    try:
        clean = parse(text)
    except Invalid:
        return
    assert clean.startswith("/") and parse(clean) == clean
    assert os.path.normpath(clean) == clean


def test_the_system_keeps_its_own() -> None:
    system = [
        "/",
        "/etc",
        "/etc/x",
        "/usr",
        "/usr/local",
        "/proc/self",
        "/sys/x",
        "/dev/shm",
        "/boot/efi",
        "/run",
        "/run/x",
    ]
    for path in [*system, "/var", "/tmp", "/root", "/lib64", "/sbin", "/run/media"]:
        assert is_of_the_system(path), path
    for path in (
        "/mnt",
        "/mnt/data",
        "/home",
        "/srv",
        "/var/lib/data",
        "/tmp/x",
        "/run/media/x",
        "/etcetera",
        "/usr2",
        "/opt/x",
    ):
        assert not is_of_the_system(path), path


def test_a_directory_that_is_there(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    assert prepare(str(target)) == []


def test_missing_directories_are_made_and_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    old = os.umask(0o077)
    try:
        made = prepare(f"{tmp_path}/a/b/c")
    finally:
        os.umask(old)
    assert made == [f"{tmp_path}/a/b", f"{tmp_path}/a/b/c"]
    assert [Path(each).stat().st_mode & 0o7777 for each in made] == [0o755, 0o755]  # whatever the umask
    remove(made)
    assert list((tmp_path / "a").iterdir()) == []


def test_what_came_into_them_meanwhile_stays(tmp_path: Path) -> None:
    made = prepare(f"{tmp_path}/a/b")
    (tmp_path / "a/file").write_text("")
    remove(made)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["link", "link/inside", "link/missing", "dangling", "dangling/x"])
def test_links_are_refused_and_nothing_is_made(tmp_path: Path, path: str) -> None:
    (tmp_path / "real/inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(Invalid, match="symbolic link"):
        prepare(f"{tmp_path}/{path}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dangling", "link", "real"]
    assert not (tmp_path / "real/missing").exists()


def test_what_is_no_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "file/x"):
        with pytest.raises(Conflict):
            prepare(str(path))


def test_where_others_could_put_a_link(tmp_path: Path) -> None:
    for name, mode, owner in (("theirs", 0o755, 65534), ("open", 0o777, 0), ("group", 0o775, 0)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, 0 if name != "group" else 100)
        (tmp_path / name).chmod(mode)
        with pytest.raises(Invalid, match="users other than root"):
            prepare(f"{tmp_path}/{name}/x")
        assert list((tmp_path / name).iterdir()) == [], "made and left"


def test_sticky_directories_are_safe_for_what_is_ours(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    assert prepare(f"{tmp_path}/shared/new") == [f"{tmp_path}/shared/new"]
    (tmp_path / "shared/theirs").mkdir()
    os.chown(tmp_path / "shared/theirs", 65534, 65534)
    with pytest.raises(Invalid, match="users other than root"):
        prepare(f"{tmp_path}/shared/theirs")
