"""The scripts logs, debug, services and reboot."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.admin_directory import AdminDirectory, make_keys


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    directory = AdminDirectory.make(tmp_path / "admin")
    (directory.path / "log/update.log").write_text("a line\n")
    (directory.etc / "api.token").write_text("secret token")
    return directory


def members(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {member.name for member in archive if not member.isdir()}


def test_logs(admin: AdminDirectory, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("one.log", "tls.key", "api.token.setup"):
        (other / name).write_text("x")
    lines = [
        str(other),
        "/does/not/exist",
        "etc/version.txt",
        "etc/api.token",
        "../admin/log",
        "# remark",
    ]
    (admin.etc / "logs.txt").write_text("\n".join(lines))
    done = admin.run("logs")
    assert (done.returncode, done.stderr) == (0, "")
    assert members(admin.uploads / "logs.tar.gz") == {
        "log/update.log",
        f"{other}/one.log".lstrip("/"),
        f"{admin.etc}/version.txt".lstrip("/"),
    }
    assert sorted(path.name for path in (admin.path / "tmp").iterdir()) == ["logs.lock"]


def test_logs_without_a_list(admin: AdminDirectory) -> None:
    assert admin.run("logs").returncode == 0
    assert members(admin.uploads / "logs.tar.gz") == {"log/update.log"}


def test_debug_needs_the_public_key(admin: AdminDirectory) -> None:
    done = admin.run("debug")
    assert (done.returncode, done.stderr) == (1, "updates.pub is missing\n")
    (admin.etc / "updates.pub").write_text("no key")
    assert admin.run("debug").returncode == 1
    assert list(admin.uploads.iterdir()) == []
    assert [path.name for path in (admin.path / "tmp").iterdir()] == ["debug.lock"]


def decrypt(folder: Path, keys: Path) -> None:
    """As the holder of the private key does."""
    argv = ["openssl", "pkeyutl", "-decrypt", "-inkey", str(keys / "updates.private.pem")]
    subprocess.run([*argv, "-in", "debug.key.enc", "-out", "debug.key"], cwd=folder, check=True)
    for name in ("debug.tar.gz", "logs.tar.gz"):
        argv = ["openssl", "enc", "-d", "-aes-256-cbc", "-md", "sha256", "-pbkdf2", "-pass", "file:debug.key"]
        subprocess.run([*argv, "-in", f"{name}.enc", "-out", name], cwd=folder, check=True)


def test_debug(admin: AdminDirectory, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys", admin)
    commands = ["echo hello world; exit 3", "", "# remark", "no-such-command-here", "yes | head -c 6000000"]
    (admin.etc / "debug.txt").write_text("\n".join(commands))
    done = admin.run("debug")
    assert (done.returncode, done.stderr) == (0, "")
    bundle = tmp_path / "bundle"
    with tarfile.open(admin.uploads / "debug-bundle.tar") as archive:
        assert archive.getnames() == ["debug.key.enc", "debug.tar.gz.enc", "logs.tar.gz.enc"]
        archive.extractall(bundle, filter="data")
    decrypt(bundle, keys)
    assert members(bundle / "logs.tar.gz") == {"log/update.log"}
    with tarfile.open(bundle / "debug.tar.gz") as archive:
        archive.extractall(bundle, filter="data")
    texts = {path.name: path.read_text() for path in (bundle / "debug").iterdir()}
    assert texts["001.txt"] == "$ echo hello world; exit 3\nhello world\n\n[exit code 3]\n"
    assert "not found" in texts["002.txt"] and "[exit code 127]" in texts["002.txt"]
    assert 4 << 20 <= len(texts["003.txt"]) < (4 << 20) + 100
    assert texts["version.txt"] == "1.0.0\n"
    assert [path.name for path in (admin.path / "tmp").iterdir()] == ["debug.lock"]


def test_services(admin: AdminDirectory, tmp_path: Path) -> None:
    (admin.etc / "services.txt").write_text('openssh\nbad name"\n-x\n# remark\nappliance\nup\n')
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name, condition in (("service", '[ "$1" = up ]'), ("systemctl", '[ "$4" = up ]')):
        (folder / name).write_text(f"#!/bin/sh\n{condition}\n")
        (folder / name).chmod(0o755)
    done = admin.run("services", PATH=f"{folder}:{admin.environment('services')['PATH']}")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "services": [{"openssh": "not running"}, {"up": "running"}, {"appliance": "running"}]
    }
    assert done.stderr.count("is no service name") == 2


def test_services_without_a_list(admin: AdminDirectory) -> None:
    assert json.loads(admin.run("services").stdout) == {"services": [{"appliance": "running"}]}


def stubs(folder: Path, **programs: str) -> str:
    folder.mkdir()
    for name, text in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(("apply", "detected", "user", "reason"), [
    ("0", "exit 1", "echo 0", "[admin] apply is off"),
    ("1", "exit 0", "echo 0", "running in a container"),
    ("1", "exit 1", "echo 1000", "not permitted"),
])  # fmt: skip
def test_reboot_is_refused(
    admin: AdminDirectory, tmp_path: Path, apply: str, detected: str, user: str, reason: str
) -> None:
    folder = stubs(tmp_path / "stubs", systemd_detect_virt=detected, id=user, tr="exit 0")
    path = f"{folder}:{admin.environment('reboot')['PATH']}"
    command = f"/usr/bin/touch {tmp_path}/rebooted"
    extra = {"APPLIANCE_APPLY": apply, "APPLIANCE_REBOOT_COMMAND": command, "APPLIANCE_ROOT": str(tmp_path)}
    done = admin.run("reboot", PATH=path, **extra)
    assert (done.returncode, done.stderr) == (1, f"{reason}\n")
    assert not (tmp_path / "rebooted").exists()


@pytest.mark.parametrize("sign", [".dockerenv", "run/.containerenv", "run/systemd/container"])
def test_reboot_sees_a_container(admin: AdminDirectory, tmp_path: Path, sign: str) -> None:
    folder = stubs(tmp_path / "stubs", systemd_detect_virt="exit 1", id="echo 0", tr="exit 0")
    path = f"{folder}:{admin.environment('reboot')['PATH']}"
    (tmp_path / sign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / sign).touch()
    done = admin.run("reboot", PATH=path, APPLIANCE_APPLY="1", APPLIANCE_ROOT=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "running in a container\n")


def test_reboot_of_another_root_never_falls_back_to_the_real_one(admin: AdminDirectory, tmp_path: Path) -> None:
    folder = stubs(tmp_path / "stubs", systemd_detect_virt="exit 1", id="echo 0", tr="exit 0")
    path = f"{folder}:{admin.environment('reboot')['PATH']}"
    extra = {"APPLIANCE_APPLY": "1", "APPLIANCE_REBOOT_COMMAND": "", "APPLIANCE_ROOT": str(tmp_path)}
    done = admin.run("reboot", PATH=path, **extra)
    assert (done.returncode, done.stderr) == (1, f"{tmp_path} is not the running system\n")


def test_reboot_runs_the_command_split_at_blanks(admin: AdminDirectory, tmp_path: Path) -> None:
    folder = stubs(tmp_path / "stubs", systemd_detect_virt="exit 1", id="echo 0", tr="exit 0")
    path = f"{folder}:{admin.environment('reboot')['PATH']}"
    command = f"/usr/bin/touch {tmp_path}/rebooted $(id) * ;"
    extra = {"APPLIANCE_APPLY": "1", "APPLIANCE_REBOOT_COMMAND": command, "APPLIANCE_ROOT": str(tmp_path)}
    done = subprocess.run(
        admin.argv("reboot"),
        env=admin.environment("reboot", PATH=path, **extra),
        cwd=tmp_path / "admin" / "bin",
        check=False,
    )
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "admin/bin").iterdir()) == ["$(id)", "*", ";"]
    assert (tmp_path / "rebooted").exists()
