"""The backup script: START, STOP and RESTORE."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.support.admin_directory import AdminDirectory


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    directory = AdminDirectory.make(tmp_path / "admin")
    (directory.etc / "app.json").write_text("app")
    (directory.etc / "network.json").write_text("network")
    (directory.etc / "api.token").write_text("token")
    (directory.etc / "updates.key").write_text("key")
    (directory.etc / "updates.pub").write_text("pub")
    (directory.path / "bin/wrapper.sh").write_text("script")
    (directory.etc / "debug.txt").write_text("true")
    (directory.path / "data").mkdir()
    (directory.path / "data/APPLIANCE.KEY").write_text("key")
    (directory.path / "data/file").write_text("data")
    return directory


def list_paths(admin: AdminDirectory, *lines: str) -> None:
    (admin.etc / "backup.txt").write_text("".join(f"{line}\n" for line in lines))


def members(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return set(archive.getnames())


def test_start(admin: AdminDirectory) -> None:
    list_paths(admin, "# a remark", "etc/app.json", "", "./etc/network.json", "etc/license.asc", "data", "--verbose")
    done = admin.run("backup", "START")
    assert (done.returncode, done.stderr) == (0, "")
    archive = admin.uploads / "backup.tar"
    assert members(archive) == {"etc/app.json", "etc/network.json", "data", "data/file"}
    status = json.loads((admin.uploads / "backup.json").read_text())
    size = f"{archive.stat().st_size // 1024}K"
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert status == {"status": "success", "filesize": size, "sha256": sha256}
    log = admin.log("update_backup.log")
    assert log[-1].endswith("][SYSTEM] Backup complete")
    assert any("Skipped: etc/license.asc is missing" in line for line in log)
    assert sorted(path.name for path in admin.uploads.iterdir()) == ["backup.json", "backup.tar"]


def test_bad_entries_are_left_out(admin: AdminDirectory) -> None:
    list_paths(admin, "/etc/passwd", "../admin/etc/app.json", "etc/../etc/app.json", ".", "etc/network.json")
    assert admin.run("backup", "START").returncode == 0
    assert members(admin.uploads / "backup.tar") == {"etc/network.json"}
    assert sum("Ignored: " in line for line in admin.log("update_backup.log")) == 4


def test_secrets_and_our_own_folders_are_never_in_it(admin: AdminDirectory) -> None:
    list_paths(admin, "etc", "bin", "uploads", "tmp", "data/APPLIANCE.KEY", "etc/api.token")
    assert admin.run("backup", "START").returncode == 0
    found = members(admin.uploads / "backup.tar")
    assert found == {"etc", "etc/app.json", "etc/network.json", "etc/backup.txt"}


def test_another_root(admin: AdminDirectory, tmp_path: Path) -> None:
    list_paths(admin, "admin/etc/app.json", "admin/bin", "other")
    (tmp_path / "other").write_text("beside")
    assert admin.run("backup", "START", APPLIANCE_BACKUP_ROOT=str(tmp_path)).returncode == 0
    assert members(admin.uploads / "backup.tar") == {"admin/etc/app.json", "other"}


def test_without_a_list_the_backup_is_empty(admin: AdminDirectory) -> None:
    assert admin.run("backup", "START").returncode == 0
    assert members(admin.uploads / "backup.tar") == set()


def test_a_failure_is_told(admin: AdminDirectory, tmp_path: Path) -> None:
    list_paths(admin, "etc/app.json")
    (tmp_path / "tar").write_text("#!/bin/sh\necho no space left >&2\nexit 2\n")
    (tmp_path / "tar").chmod(0o755)
    path = f"{tmp_path}:{admin.environment('backup')['PATH']}"
    assert admin.run("backup", "START", PATH=path).returncode == 1
    assert json.loads((admin.uploads / "backup.json").read_text()) == {"status": "failed"}
    assert [path.name for path in admin.uploads.iterdir()] == ["backup.json"]
    assert any("no space left" in line for line in admin.log("update_backup.log"))


def test_stop_removes_everything(admin: AdminDirectory) -> None:
    for name in ("backup.tar", "backup.tar.part", "backup.json", "app.json"):
        (admin.uploads / name).write_text("x")
    assert admin.run("backup", "STOP").returncode == 0
    assert [path.name for path in admin.uploads.iterdir()] == ["app.json"]
    assert admin.log("update_backup.log")[-1].endswith("Deleting backup archive")


def test_a_backup_comes_back(admin: AdminDirectory) -> None:
    list_paths(admin, "etc", "data")
    assert admin.run("backup", "START").returncode == 0
    (admin.uploads / "backup.tar").rename(admin.uploads / "backup-archive.tar")
    (admin.etc / "app.json").write_text("changed")
    (admin.path / "data/file").unlink()
    done = admin.run("backup", "RESTORE")
    assert (done.returncode, done.stderr) == (0, "")
    assert (admin.etc / "app.json").read_text() == "app"
    assert (admin.path / "data/file").read_text() == "data"
    assert (admin.etc / "api.token").read_text() == "token"
    assert not (admin.uploads / "backup-archive.tar").exists()
    assert admin.log("update_backup.log")[-1].endswith("Restoring backup successful")


def put_archive(admin: AdminDirectory, name: str, **fields: object) -> None:
    with tarfile.open(admin.uploads / "backup-archive.tar", "w") as writer:
        for good in ("etc/app.json", name):
            info = tarfile.TarInfo(good)
            info.size = 3
            if good == name:
                for key, value in fields.items():
                    setattr(info, key, value)
            writer.addfile(info, io.BytesIO(b"bad"))


@pytest.mark.parametrize(("name", "fields"), [
    ("/etc/absolute", {}), ("../escape", {}), ("bin/wrapper.sh", {}), ("uploads/app.json", {}),
    ("etc/api.token", {}), ("etc/debug.txt", {}), ("etc/logs.txt", {}),
    ("etc/version.txt", {}), ("log/jidoteki-audit.log", {}), ("staged/.settings.installed", {}),
    ("home/sftp/uploads/x", {}), (".appliance-swap/journal.json", {}), (".appliance-swap/old/0/x", {}),
    ("etc/.appliance-swap-0.new", {}),
    ("etc/updates.pub", {}), ("link", {"type": tarfile.SYMTYPE, "linkname": "../..", "size": 0}),
    ("device", {"type": tarfile.CHRTYPE, "size": 0}), ("fifo", {"type": tarfile.FIFOTYPE, "size": 0}),
])  # fmt: skip
def test_a_bad_archive_changes_nothing(admin: AdminDirectory, name: str, fields: dict[str, object]) -> None:
    before = {key: value for key, value in admin.everything().items() if not key.startswith(("log/", "tmp/"))}
    put_archive(admin, name, **fields)
    done = admin.run("backup", "RESTORE")
    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")
    after = {key: value for key, value in admin.everything().items() if not key.startswith(("log/", "tmp/"))}
    assert after == before
    assert "Failed restoring backup: refused: " in admin.log("update_backup.log")[-1]


def test_restore_without_an_archive_and_wrong_arguments(admin: AdminDirectory) -> None:
    assert admin.run("backup", "RESTORE").stderr == "backup-archive.tar is missing\n"
    assert admin.run("backup").returncode == 2
