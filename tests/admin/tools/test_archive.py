"""The archive tool: what it unpacks, and every trap it refuses."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.admin.tools import archive
from appliance.admin.tools.archive import extract
from appliance.admin.tools.archive_reader import ArchiveError, Member, Reader

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*entries: Entry, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as writer:
        for info, data in entries:
            writer.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes, folder: Path, **options: object) -> list[str]:
    folder.mkdir(exist_ok=True)
    return extract(io.BytesIO(data), str(folder), **options)  # type: ignore[arg-type]


def whole() -> bytes:
    return tar(
        entry("./", tarfile.DIRTYPE),
        entry("./folder", tarfile.DIRTYPE, mode=0o2775),
        entry("folder/file", data=b"text" * 1000, mtime=1000000000, mode=0o666),
        entry("folder/program", data=b"#!/bin/sh\n", mode=0o755),
        entry("folder/" + "n" * 200, data=b"long"),
        entry("étage", data=b"name"),
        entry("link", tarfile.SYMTYPE, linkname="folder/file"),
        entry("folder/up", tarfile.SYMTYPE, linkname="../étage"),
        entry("hard", tarfile.LNKTYPE, linkname="./folder/file"),
        entry("implied/deep/file", data=b"x"),
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_unpacks_files_folders_and_links(tmp_path: Path, pack: type) -> None:
    names = unpack(pack(whole()), tmp_path / "out")
    out = tmp_path / "out"
    assert len(names) == 9
    assert (out / "folder/file").read_bytes() == b"text" * 1000
    assert (out / "folder/file").stat().st_mtime == 1000000000
    assert (out / "folder/file").stat().st_mode & 0o7777 == 0o644
    assert (out / "folder/program").stat().st_mode & 0o7777 == 0o755
    assert (out / "folder").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(out / "folder/up") == "../étage"
    assert (out / "hard").stat().st_ino == (out / "folder/file").stat().st_ino
    assert (out / "implied/deep/file").stat().st_uid == os.getuid()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_reads_the_other_formats(tmp_path: Path, form: int) -> None:
    name = "/".join(["d" * 60, "e" * 60, "file"])
    assert unpack(tar(entry(name, data=b"x"), format=form), tmp_path / "out") == [name]


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
TRAPS = {
    "absolute": [entry("/etc/passwd", data=b"x")],
    "dot-dot": [entry("../escape", data=b"x")],
    "dot-dot inside": [entry("a/../../escape", data=b"x")],
    "absolute link": [entry("l", SYM, linkname="/etc")],
    "empty link": [entry("l", SYM, linkname="")],
    "link up": [entry("l", SYM, linkname="..")],
    "link up from a folder": [entry("a/l", SYM, linkname="../../x")],
    "link down and up": [entry("a/l", SYM, linkname="b/../../../x")],
    "through a link": [entry("d", tarfile.DIRTYPE), entry("l", SYM, linkname="d"), entry("l/x", data=b"x")],
    "link through a link": [
        entry("a/b/l", SYM, linkname="../.."),
        entry("m", SYM, linkname="a/b/l/.."),
        entry("m/escape", data=b"x"),
    ],
    "over a link": [entry("l", SYM, linkname="x"), entry("l", data=b"x")],
    "folder over a link": [entry("l", SYM, linkname="x"), entry("l", tarfile.DIRTYPE)],
    "hard link out": [entry("l", HARD, linkname="../../etc/passwd")],
    "absolute hard link": [entry("l", HARD, linkname="/etc/passwd")],
    "hard link to nothing": [entry("l", HARD, linkname="missing")],
    "hard link to a link": [entry("s", SYM, linkname="x"), entry("l", HARD, linkname="s")],
    "character device": [entry("d", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [entry("d", tarfile.BLKTYPE, devmajor=7)],
    "fifo": [entry("f", tarfile.FIFOTYPE)],
    "set-user-ID": [entry("f", data=b"x", mode=0o4755)],
    "set-group-ID": [entry("f", data=b"x", mode=0o2755)],
    "twice": [entry("f", data=b"a"), entry("./f", data=b"b")],
    "file then folder": [entry("f", data=b"a"), entry("f/g", data=b"b")],
    "folder then file": [entry("f/g", data=b"a"), entry("f", data=b"b")],
    "file without a name": [entry("./", data=b"a", type=tarfile.REGTYPE), entry("./.", SYM, linkname="x")],
    "name too long for a file system": [entry("n" * 300, data=b"x")],
}


@pytest.mark.parametrize("trap", TRAPS, ids=lambda name: name.replace(" ", "-"))
def test_refuses_traps(tmp_path: Path, trap: str) -> None:
    with pytest.raises(ArchiveError):
        unpack(tar(*TRAPS[trap]), tmp_path / "out")
    outside = [path for path in tmp_path.rglob("*") if "escape" in path.name]
    assert outside == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_never_overwrites_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").symlink_to(tmp_path / "outside")
    with pytest.raises(ArchiveError, match="is there"):
        unpack(tar(entry("file", data=b"x")), out)
    assert not (tmp_path / "outside").exists()


def test_a_folder_that_is_a_link_on_the_disk_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "outside").mkdir()
    (out / "folder").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        unpack(tar(entry("folder/file", data=b"x")), out)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("cut", [512, 700, 1536, 2048, 5000, 11264])
def test_a_cut_archive_is_not_taken_for_whole(tmp_path: Path, cut: int) -> None:
    data = tar(entry("a", data=b"x" * 600), entry("b", data=b"y" * 9000))
    with pytest.raises(ArchiveError):
        unpack(data[:cut], tmp_path / "out")
    assert unpack(data[: 11264 + 1024], tmp_path / "whole") == ["a", "b"]


def test_a_cut_gzip_stream_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(whole())
    with pytest.raises(ArchiveError):
        unpack(packed[:-4], tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"\x1f", b"\x1f\x8b", b"no archive" * 100, b"\x1f\x8bbroken" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpack(data, tmp_path / "out")


def test_the_limit_counts_what_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(tar(entry("zeros", data=bytes(4 << 20))))
    assert len(bomb) < 20000
    with pytest.raises(ArchiveError, match="more than 1048576 bytes"):
        unpack(bomb, tmp_path / "out", limit=1 << 20)
    assert (tmp_path / "out/zeros").stat().st_size <= 1 << 20
    assert unpack(bomb, tmp_path / "enough", limit=5 << 20) == ["zeros"]


def test_the_limit_counts_after_the_end_too(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than"):
        unpack(gzip.compress(tar(entry("a", data=b"x")) + bytes(1 << 20)), tmp_path / "out", limit=1 << 19)


def test_huge_extended_headers_are_refused(tmp_path: Path) -> None:
    long_name = tar(entry("n" * 200_000, data=b"x"))
    with pytest.raises(ArchiveError):
        unpack(long_name, tmp_path / "out")


def test_a_chain_of_extended_headers_is_refused(tmp_path: Path) -> None:
    header = tar(entry("n" * 150, data=b"x"))[:1024]
    with pytest.raises(ArchiveError):
        unpack(header * 5000 + tar(entry("a")), tmp_path / "out")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    packed = subprocess.run(
        ["tar", "-C", str(tmp_path), "-S", "-cf", "-", "sparse"], capture_output=True, check=True
    ).stdout
    with pytest.raises(ArchiveError, match="sparse"):
        unpack(packed, tmp_path / "out")


def test_only_takes_the_named_plain_files(tmp_path: Path) -> None:
    data = tar(entry("a", data=b"1"), entry("other", SYM, linkname="a"), entry("b", data=b"2"))
    assert unpack(data, tmp_path / "out", only=["a", "b"]) == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    with pytest.raises(ArchiveError, match="missing: not in the archive"):
        unpack(data, tmp_path / "second", only=["a", "missing"])
    with pytest.raises(ArchiveError, match="not a plain file"):
        unpack(data, tmp_path / "third", only=["other"])


def test_accept_can_refuse(tmp_path: Path) -> None:
    def refuse(member: Member) -> None:
        raise ArchiveError(member.name)

    with pytest.raises(ArchiveError, match="a"):
        unpack(tar(entry("a", data=b"x")), tmp_path / "out", accept=refuse)
    assert list((tmp_path / "out").iterdir()) == []


@settings(max_examples=150)
@given(st.data())
def test_damaged_archives_raise_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(whole())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, min(len(damaged), 12000) - 1))] = data.draw(st.integers(0, 255))
    try:
        reader = Reader(io.BytesIO(bytes(damaged)), limit=1 << 20)
        for _ in reader:
            while reader.read(1000):
                pass
    except ArchiveError:
        pass


def program(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", "-S", archive.__file__, *arguments]
    return subprocess.run(argv, input=stdin, capture_output=True, check=False)


def test_the_program_extracts_from_standard_input(tmp_path: Path) -> None:
    done = program("extract", "-", str(tmp_path / "out"), "--only", "étage", stdin=gzip.compress(whole()))
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out/étage").read_bytes() == b"name"


def test_the_program_lists(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(whole())
    done = program("list", str(tmp_path / "a.tar"))
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    link = {"name": "link", "kind": "symlink", "size": 0, "mode": "0644", "target": "folder/file"}
    assert link in lines and len(lines) == 9


def test_the_program_says_why_it_refused(tmp_path: Path) -> None:
    done = program("extract", "-", str(tmp_path / "out"), stdin=tar(*TRAPS["dot-dot"]))
    assert done.returncode == 1
    assert done.stderr == b"archive refused: \"../escape\": names with '..' are refused\n"
    assert program("extract", str(tmp_path / "missing"), str(tmp_path / "out")).returncode == 1
    assert program("extract", "-").returncode == 2
