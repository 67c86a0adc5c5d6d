"""The storage script: what mounts the storage after a reboot, for each type, with safe quoting."""

from pathlib import Path

import pytest

from appliance.admin.tools import storage
from tests.support.admin_directory import AdminDirectory

PASSWORD = "a\"b$c`d'e\\f#g$(reboot)!"


def conf(**values: str) -> str:
    quoted = {key: value.replace("'", "'\\''") for key, value in values.items()}
    return "".join(f"{key}='{value}'\n" for key, value in quoted.items())


NFS = conf(type="nfs", mount_options="noacl,sync", ip="192.168.1.100", share="/nfs/storage")
AOE = conf(type="aoe", device="e0.1")
NBD = conf(type="nbd", export_name="otherexport", ip="192.168.1.100", port="1043")
ISCSI = conf(
    type="iscsi",
    target="iqn.2016-01.com.example:storage.lun1",
    ip="192.168.1.100",
    username="user",
    password=PASSWORD,
)
LOCAL = conf(type="local")
NODE = "etc/iscsi/nodes/iqn.2016-01.com.example:storage.lun1/192.168.1.100,3260,1/default"
UNIT = "etc/systemd/system/srv-storage.mount"
WANTED = "etc/systemd/system/remote-fs.target.wants/srv-storage.mount"


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    return AdminDirectory.make(tmp_path / "admin")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "system"
    (root / "lib/systemd").mkdir(parents=True)
    (root / "lib/systemd/systemd").touch()
    (root / "etc").mkdir()
    return root


def post(admin: AdminDirectory, text: str, root: Path, *, apply: str = "1") -> int:
    (admin.uploads / "storage.json").write_text('{"type": "x"}')
    (admin.uploads / "storage.conf").write_text(text)
    return admin.run("storage", APPLIANCE_APPLY=apply, APPLIANCE_ROOT=str(root)).returncode


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_nfs_is_a_mount_unit(admin: AdminDirectory, system: Path) -> None:
    assert post(admin, NFS, system) == 0
    unit = (system / UNIT).read_text()
    assert "What=192.168.1.100:/nfs/storage\nWhere=/srv/storage\nType=nfs\nOptions=_netdev,noacl,sync\n" in unit
    assert (system / WANTED).resolve() == (system / UNIT).resolve()
    assert (system / "srv/storage").is_dir()
    assert (admin.etc / "storage.conf").read_text() == NFS
    assert (admin.etc / "storage.json").stat().st_mode & 0o777 == 0o600
    assert list(admin.uploads.iterdir()) == []


def test_nfs_without_systemd_is_a_line_of_fstab(admin: AdminDirectory, system: Path) -> None:
    (system / "lib/systemd/systemd").unlink()
    (system / "etc/fstab").write_text("/dev/sda1 / ext4 defaults 0 1\n")
    assert post(admin, NFS.replace("192.168.1.100", "2001:db8::1"), system) == 0
    line = "[2001:db8::1]:/nfs/storage /srv/storage nfs _netdev,noacl,sync,nofail 0 0 # appliance storage\n"
    assert (system / "etc/fstab").read_text() == "/dev/sda1 / ext4 defaults 0 1\n" + line
    assert post(admin, NFS, system) == 0
    assert (system / "etc/fstab").read_text().count("appliance storage") == 1
    assert post(admin, LOCAL, system) == 0
    assert (system / "etc/fstab").read_text() == "/dev/sda1 / ext4 defaults 0 1\n"


def test_aoe(admin: AdminDirectory, system: Path) -> None:
    assert post(admin, AOE, system) == 0
    assert "What=/dev/etherd/e0.1\n" in (system / UNIT).read_text()
    assert (system / "etc/modules-load.d/appliance-storage.conf").read_text() == "aoe\n"


def test_nbd(admin: AdminDirectory, system: Path) -> None:
    assert post(admin, NBD, system) == 0
    assert (system / "etc/nbdtab").read_text() == "nbd0 192.168.1.100 otherexport port=1043,persist\n"
    assert "What=/dev/nbd0\n" in (system / UNIT).read_text()


def test_iscsi_keeps_the_password_whole_and_closed(admin: AdminDirectory, system: Path) -> None:
    assert post(admin, ISCSI, system) == 0
    lines = (system / NODE).read_text().splitlines()
    assert f"node.session.auth.password = {PASSWORD}" in lines
    assert "node.session.auth.username = user" in lines
    for path in (system / NODE, admin.path / "staged" / NODE, admin.etc / "storage.conf"):
        assert path.stat().st_mode & 0o777 == 0o600
    holders = {name for name, text in files(system).items() if PASSWORD in text}
    assert holders == {NODE}
    assert not any("reboot" in line for line in admin.log("storage.log"))
    unit = (system / UNIT).read_text()
    device = "/dev/disk/by-path/ip-192.168.1.100:3260-iscsi-iqn.2016-01.com.example:storage.lun1-lun-0"
    assert f"What={device}\n" in unit


@pytest.mark.parametrize("text", [NFS, AOE, NBD, ISCSI], ids=["nfs", "aoe", "nbd", "iscsi"])
def test_local_removes_what_another_type_brought(admin: AdminDirectory, system: Path, text: str) -> None:
    assert post(admin, text, system) == 0
    assert post(admin, LOCAL, system) == 0
    left = {name for name in files(system) if not name.endswith(".appliance-old")}
    assert left == {"lib/systemd/systemd"}
    assert not (system / WANTED).is_symlink()


def test_a_file_that_was_only_staged_is_never_removed(admin: AdminDirectory, system: Path) -> None:
    (system / "etc/nbdtab").write_text("mine\n")
    assert post(admin, NBD, system, apply="0") == 0
    assert post(admin, LOCAL, system) == 0
    assert (system / "etc/nbdtab").read_text() == "mine\n"


def test_with_apply_off_files_are_only_staged(admin: AdminDirectory, system: Path) -> None:
    before = files(system)
    assert post(admin, ISCSI, system, apply="0") == 0
    assert files(system) == before
    assert (admin.path / "staged" / NODE).exists()
    assert any("only staged" in line for line in admin.log("storage.log"))
    assert (admin.etc / "storage.json").exists()


@pytest.mark.parametrize("text", [
    "", "type=nfs\n", "type='unknown'\n", "nonsense\n", "type='nfs\n", NFS.replace("/nfs/storage", "/a b"),
    NFS.replace("192.168.1.100", "999.1.1.1"), NFS.replace("noacl,sync", "noacl;reboot"),
    NBD.replace("1043", "10x"), ISCSI.replace("iqn.2016-01", "../../x"), NFS + "type='aoe'\n",
    "type='local' 'more'\n", ISCSI.replace("'user'", "'us\tr'"),
])  # fmt: skip
def test_bad_values_change_nothing(admin: AdminDirectory, system: Path, text: str) -> None:
    before = files(system)
    assert post(admin, text, system) == 1
    assert files(system) == before
    assert not (admin.etc / "storage.json").exists()
    last = admin.log("storage.log")[-1]
    assert "Failed updating storage: storage settings: " in last
    assert PASSWORD not in last


def test_missing_files(admin: AdminDirectory) -> None:
    done = admin.run("storage")
    assert (done.returncode, done.stderr) == (1, "storage.json is missing\n")


def test_values_of_any_printable_characters_survive(tmp_path: Path) -> None:
    printable = "".join(map(chr, range(33, 127)))
    (tmp_path / "storage.conf").write_text(ISCSI.replace("'user'", conf(x=printable)[2:].strip()))
    assert storage.read(str(tmp_path / "storage.conf"))["username"] == printable
