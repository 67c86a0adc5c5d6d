"""Names of files, and what becomes of uploads that nobody takes."""

import os
import time
from pathlib import Path

import pytest

from appliance.http.uploads import TEMPORARY_PREFIX, Upload
from appliance.rpc.shared_files import KEPT_SECONDS, InvalidFilename, NoSuchFile, SharedFiles, checked, disposition


@pytest.fixture
def files(tmp_path: Path) -> SharedFiles:
    made = SharedFiles(tmp_path / "down", tmp_path / "up")
    made.prepare()
    return made


@pytest.mark.parametrize("name", ["a", "a.b", "a b", "ü", "-x", "a..b", "~", "x" * 255, "a;b", "a'b", "<x>"])
def test_names_that_are_taken(name: str) -> None:
    assert checked(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "/a", "a\\b", "a\0b", "a\nb", "a\x7f", "x" * 256, "ü" * 128, "\ud800"]
)
def test_names_that_are_not(name: str, files: SharedFiles) -> None:
    for work in (checked, files.find, files.remove):
        with pytest.raises(InvalidFilename):
            work(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.tar", 'attachment; filename="a.tar"'),
        ('a"b', 'attachment; filename="a\\"b"'),
        ("ü", "attachment; filename=\"_\"; filename*=UTF-8''%C3%BC"),
        ("a;b", 'attachment; filename="a;b"'),
    ],
)
def test_how_a_download_is_named(name: str, value: str) -> None:
    assert disposition(name) == value


def test_folders_are_ours_alone_and_swept(tmp_path: Path, files: SharedFiles) -> None:
    for folder in (tmp_path / "down", tmp_path / "up"):
        assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "up" / f"{TEMPORARY_PREFIX}half").write_text("x")
    (tmp_path / "up" / "upload-whole").write_text("x")
    files.prepare()
    assert os.listdir(tmp_path / "up") == ["upload-whole"]


def test_uploads_that_nobody_takes_go(tmp_path: Path, files: SharedFiles) -> None:
    arrived = tmp_path / "up" / f"{TEMPORARY_PREFIX}1"
    arrived.write_text("x")
    young = files.keep(Upload(arrived, 1, "", None))
    old = tmp_path / "up" / "upload-old"
    old.write_text("x")
    other = tmp_path / "up" / "something-else"
    other.write_text("x")
    (tmp_path / "up" / "upload-folder").mkdir()
    long_ago = time.time() - KEPT_SECONDS - 1
    for path in (old, other, tmp_path / "up" / "upload-folder"):
        os.utime(path, (long_ago, long_ago))
    files.prune()
    assert sorted(os.listdir(tmp_path / "up")) == sorted([young, "something-else", "upload-folder"])


def test_a_file_that_goes_meanwhile(files: SharedFiles) -> None:
    with pytest.raises(NoSuchFile):
        files.remove("gone")
