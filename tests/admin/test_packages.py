"""Building packages, by the library and by the command line; openssl and tar are the judges."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.admin import packages
from appliance.admin.commands import license as license_group
from appliance.admin.commands import package as package_group
from appliance.admin.packages import PackageError
from tests.support.admin_directory import TOOLS


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    packages.make_keys(folder)
    return folder


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    folder = tmp_path / "payload"
    (folder / "sub").mkdir(parents=True)
    (folder / "update.sh").write_text("#!/bin/sh\n")
    (folder / "update.sh").chmod(0o750)
    (folder / "sub/étage").write_bytes(os.urandom(300_000))
    (folder / "sub/link").symlink_to("../update.sh")
    (folder / "version.txt").write_text("of the folder\n")
    return folder


def decrypt(package: Path, keys: Path, folder: Path) -> Path:
    """The contract's own command lines."""
    folder.mkdir()
    argv = ["openssl", "enc", "-d", "-aes-256-cbc", "-md", "sha256", "-pbkdf2"]
    files = ["-pass", f"file:{keys / 'updates.key'}", "-in", str(package), "-out", str(folder / "outer.tar")]
    done = subprocess.run([*argv, *files], capture_output=True, check=True)
    assert done.stderr == b""
    subprocess.run(["tar", "-xf", "outer.tar"], cwd=folder, check=True)
    return folder


def test_openssl_and_tar_read_the_package(tmp_path: Path, keys: Path, payload: Path) -> None:
    package = tmp_path / "software_package-1.enc"
    counted: list[int] = []
    sha256 = packages.build(payload, "1.2.3", keys, package, progress=counted.append)
    assert sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    assert sum(counted) == packages.payload_size(payload) - len("of the folder\n")
    outer = decrypt(package, keys, tmp_path / "outer")
    assert sorted(path.name for path in outer.iterdir()) == [
        "outer.tar",
        "software_package.tar.gz",
        "software_package.tar.gz.sign",
    ]
    argv = ["openssl", "dgst", "-sha256", "-verify", str(keys / "updates.pub")]
    files = ["-signature", "software_package.tar.gz.sign", "software_package.tar.gz"]
    verified = subprocess.run([*argv, *files], cwd=outer, capture_output=True, text=True, check=True)
    assert verified.stdout == "Verified OK\n"
    subprocess.run(["tar", "-xzf", "software_package.tar.gz"], cwd=outer, check=True)
    assert (outer / "version.txt").read_text() == "1.2.3\n"
    assert (outer / "sub/étage").read_bytes() == (payload / "sub/étage").read_bytes()
    assert os.readlink(outer / "sub/link") == "../update.sh"
    assert os.access(outer / "update.sh", os.X_OK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outer", "payload", package.name]


def test_the_inner_archive_is_reproducible(tmp_path: Path, keys: Path, payload: Path) -> None:
    first, second = tmp_path / "first.enc", tmp_path / "second.enc"
    packages.build(payload, "1", keys, first)
    os.utime(payload / "update.sh", (1, 1))
    (payload / "update.sh").chmod(0o711)
    packages.build(payload, "1", keys, second)
    assert first.read_bytes() != second.read_bytes()
    found = packages.inspect(first, keys), packages.inspect(second, keys)
    assert found[0].inner_sha256 == found[1].inner_sha256
    with tarfile.open(decrypt(first, keys, tmp_path / "outer") / "software_package.tar.gz") as archive:
        assert {(member.uid, member.gid, member.mtime, member.uname) for member in archive} == {(0, 0, 0, "")}


def test_inspect_reads_what_openssl_made(tmp_path: Path, keys: Path, payload: Path) -> None:
    package = tmp_path / "package.enc"
    packages.build(payload, "1.2.3", keys, package, level=0)
    found = packages.inspect(package, keys)
    assert (found.version, found.signature_valid) == ("1.2.3", True)
    assert [member.name for member in found.members] == [
        "version.txt",
        "sub",
        "sub/link",
        "sub/étage",
        "update.sh",
    ]


def test_inspect_sees_a_foreign_signature(tmp_path: Path, keys: Path, payload: Path) -> None:
    other = tmp_path / "other"
    packages.make_keys(other)
    packages.build(payload, "1", keys, tmp_path / "package.enc")
    (other / "updates.key").write_bytes((keys / "updates.key").read_bytes())
    assert packages.inspect(tmp_path / "package.enc", other).signature_valid is False


@pytest.mark.parametrize("damage", ["cut", "wrong key", "garbage", "empty", "no tar"])
def test_inspect_refuses_what_is_no_package(tmp_path: Path, keys: Path, payload: Path, damage: str) -> None:
    package = tmp_path / "package.enc"
    packages.build(payload, "1", keys, package)
    folder = keys
    if damage == "cut":
        package.write_bytes(package.read_bytes()[:-16])
    elif damage == "wrong key":
        folder = tmp_path / "other"
        packages.make_keys(folder)
    elif damage == "garbage":
        package.write_bytes(b"x" * 1000)
    elif damage == "empty":
        package.write_bytes(b"")
    else:
        argv = ["openssl", "enc", "-aes-256-cbc", "-md", "sha256", "-pbkdf2", "-out", str(package)]
        subprocess.run([*argv, "-pass", f"file:{keys / 'updates.key'}"], input=b"no tar", check=True)
    with pytest.raises(PackageError):
        packages.inspect(package, folder)


def test_what_cannot_be_packed(tmp_path: Path, keys: Path, payload: Path) -> None:
    os.mkfifo(payload / "fifo")
    with pytest.raises(PackageError, match="only files"):
        packages.build(payload, "1", keys, tmp_path / "package.enc")
    (payload / "fifo").unlink()
    (payload / "link").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="leaves the tree"):
        packages.build(payload, "1", keys, tmp_path / "package.enc")
    (payload / "link").unlink()
    with pytest.raises(PackageError, match="letters, digits"):
        packages.build(payload, "1 2", keys, tmp_path / "package.enc")
    with pytest.raises(PackageError, match="is no folder"):
        packages.build(payload / "update.sh", "1", keys, tmp_path / "package.enc")
    with pytest.raises(PackageError, match=r"updates\.key is missing"):
        packages.build(payload, "1", tmp_path, tmp_path / "package.enc")
    assert [path.name for path in tmp_path.iterdir()] == ["payload"]


def test_keys_are_closed_and_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "admin/etc").mkdir(parents=True)
    packages.make_keys(tmp_path / "keys", admin_directory=tmp_path / "admin")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {"updates.key": 0o600, "updates.private.pem": 0o600, "updates.pub": 0o644}
    for name in ("updates.key", "updates.pub"):
        assert (tmp_path / "admin/etc" / name).read_bytes() == (tmp_path / "keys" / name).read_bytes()
    assert not (tmp_path / "admin/etc/updates.private.pem").exists()
    with pytest.raises(PackageError, match="not replaced"):
        packages.make_keys(tmp_path / "keys")
    with pytest.raises(PackageError, match="not replaced"):
        packages.make_keys(tmp_path / "second", admin_directory=tmp_path / "admin")
    assert not (tmp_path / "second/updates.key").exists()
    text = ["openssl", "pkey", "-in", str(tmp_path / "keys/updates.private.pem"), "-noout", "-text"]
    assert "3072 bit" in subprocess.run(text, capture_output=True, text=True, check=True).stdout


def test_a_large_payload_needs_little_memory(tmp_path: Path, keys: Path) -> None:
    """The peak of a process that builds from 64 MiB stays near that of one that builds from nothing."""
    script = (
        "import resource, sys; from pathlib import Path; from appliance.admin import packages\n"
        "payload, keys, output = map(Path, sys.argv[1:])\n"
        "packages.build(payload, '1', keys, output, level=0)\n"
        "packages.inspect(output, keys)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name, size in (("small", 1), ("large", 64 << 20)):
        (tmp_path / name).mkdir()
        with open(tmp_path / name / "data", "wb") as file:
            file.truncate(size)
        argv = ["-c", script, str(tmp_path / name), str(keys), str(tmp_path / f"{name}.enc")]
        environment = {"PYTHONPATH": str(TOOLS.parents[2]), "PATH": os.environ["PATH"]}
        done = subprocess.run([sys.executable, *argv], env=environment, capture_output=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 16 * 1024


def invoke(group: object, *arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(group, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    return result.exit_code, result.output


def test_the_command_line(tmp_path: Path, payload: Path) -> None:
    (tmp_path / "admin/etc").mkdir(parents=True)
    keys, package = tmp_path / "keys", tmp_path / "package.enc"
    code, output = invoke(package_group, "keys", keys, "--admin-directory", tmp_path / "admin")
    assert code == 0, output
    assert (keys / "updates.key").read_text().strip() not in output
    code, output = invoke(package_group, "build", payload, "--version", "2.0", "--keys", keys, "-o", package)
    assert code == 0, output
    assert f"version 2.0  {package.stat().st_size} bytes" in output
    code, output = invoke(package_group, "inspect", package, "--keys", keys)
    assert code == 0
    assert output.splitlines()[:2] == ["version    2.0", "signature  valid"]
    assert "symlink   sub/link -> ../update.sh" in output
    packages.make_keys(tmp_path / "other")
    (tmp_path / "other/updates.key").write_bytes((keys / "updates.key").read_bytes())
    code, output = invoke(package_group, "inspect", package, "--keys", tmp_path / "other")
    assert (code, "signature  INVALID" in output) == (1, True)
    assert invoke(package_group, "keys", keys)[0] == 1
    (payload / "update.sh").unlink()
    (payload / "sub/link").unlink()
    assert (
        "has no update.sh"
        in invoke(package_group, "build", payload, "--version", "3", "--keys", keys, "-o", package)[1]
    )


def test_names_cannot_control_the_terminal(tmp_path: Path, keys: Path, payload: Path) -> None:
    (payload / "evil\x1b[2J").touch()
    packages.build(payload, "1", keys, tmp_path / "package.enc")
    code, output = invoke(package_group, "inspect", tmp_path / "package.enc", "--keys", keys)
    assert code == 0
    assert "evil?[2J" in output


def test_licences(tmp_path: Path, keys: Path) -> None:
    details = {"app": "x", "users": 3, "expires": "2099-12-31", "name": "n", "contact": "c", "more": [1]}
    (tmp_path / "details.json").write_text(json.dumps(details))
    licence = tmp_path / "license.asc"
    code, output = invoke(
        license_group, "make", tmp_path / "details.json", "--key", keys / "updates.private.pem", "-o", licence
    )
    assert code == 0, output
    code, output = invoke(license_group, "show", licence, "--key", keys / "updates.pub")
    assert (code, json.loads(output)) == (0, details)
    (tmp_path / "details.json").write_text(json.dumps(details | {"expires": "1 May 2001"}))
    arguments = ("make", tmp_path / "details.json", "-o", tmp_path / "second")
    code, output = invoke(license_group, *arguments, "--key", keys / "updates.private.pem")
    assert (code, "expired on 1 May 2001" in output) == (1, True)
    assert invoke(license_group, *arguments, "--key", keys / "updates.key")[0] == 1
    assert invoke(license_group, "show", keys / "updates.pub", "--key", keys / "updates.pub")[0] == 1
