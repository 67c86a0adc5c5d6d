"""The settings script: system files for the three network managers, staged, installed and rolled back."""

import ipaddress
import json
from pathlib import Path

import pytest

from appliance.admin.tools.network import without_interface
from tests.support.admin_directory import AdminDirectory

STATIC = """\
mode=static
interface=eth0
ip=192.168.1.100
subnet=255.255.255.0
router=192.168.1.1
dns="192.168.1.2 192.168.1.3"
hostname="test.host"
ntpserver="pool.ntp.org"
"""
STATIC_IPV6 = """\
mode=static
interface=eth0
ip=2001:db8::10
subnet_ipv6=64
router=fe80::1
dns="2001:db8::53"
hostname="six"
"""
DHCP = "mode=dhcp\ninterface=eth0\nhostname=test.host\nntpserver=\n"
MANAGED = {
    "networkd": {"etc/systemd/network/50-other.network": "[Match]\nName=other\n"},
    "netplan": {"etc/netplan/50-cloud.yaml": "network: {version: 2}\n"},
    "ifupdown": {
        "etc/network/interfaces": ("auto lo eth0\niface lo inet loopback\n\niface eth0 inet dhcp\n    metric 5\n"),
        "etc/network/interfaces.d/extra": "allow-hotplug eth0\niface eth0 inet6 auto\n",
    },
}


@pytest.fixture
def admin(tmp_path: Path) -> AdminDirectory:
    return AdminDirectory.make(tmp_path / "admin")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "system"
    put(root, {"etc/hosts": "127.0.0.1 localhost\n127.0.1.1 old\n10.0.0.1 other\n", "etc/hostname": "old\n"})
    return root


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def post(admin: AdminDirectory, conf: str) -> None:
    network = {"mode": conf.split("\n")[0][5:], "interface": "eth0"}
    put(
        admin.uploads,
        {"network.conf": conf, "network.json": json.dumps(network), "app.json": '{"name": "x"}'},
    )


def settings(admin: AdminDirectory, conf: str, root: Path, *, apply: str = "1", mode: str | None = None) -> int:
    post(admin, conf)
    mode = mode or conf.split("\n")[0][5:]
    return admin.run("settings", mode, APPLIANCE_APPLY=apply, APPLIANCE_ROOT=str(root)).returncode


def test_networkd_static(admin: AdminDirectory, system: Path) -> None:
    put(system, MANAGED["networkd"])
    assert settings(admin, STATIC, system) == 0
    assert (system / "etc/systemd/network/10-appliance.network").read_text() == (
        "[Match]\nName=eth0\n\n[Network]\nDHCP=no\nAddress=192.168.1.100/24\n"
        "DNS=192.168.1.2\nDNS=192.168.1.3\nNTP=pool.ntp.org\n\n[Route]\nGateway=192.168.1.1\n"
    )
    assert (system / "etc/systemd/timesyncd.conf.d/appliance.conf").read_text() == "[Time]\nNTP=pool.ntp.org\n"
    assert (system / "etc/resolv.conf").read_text() == "nameserver 192.168.1.2\nnameserver 192.168.1.3\n"
    assert (system / "etc/hostname").read_text() == "test.host\n"
    assert (system / "etc/hosts").read_text() == ("127.0.0.1 localhost\n127.0.1.1 test.host test\n10.0.0.1 other\n")
    assert (system / "etc/hosts.appliance-old").read_text().splitlines()[1] == "127.0.1.1 old"
    assert (system / "etc/systemd/network/10-appliance.network").stat().st_mode & 0o777 == 0o644
    assert (system / "etc/systemd/timesyncd.conf.d").stat().st_mode & 0o777 == 0o755
    assert json.loads((admin.etc / "network.json").read_text())["mode"] == "static"
    assert (admin.etc / "network.conf").read_text() == STATIC
    assert (admin.etc / "app.json").read_text() == '{"name": "x"}'
    assert list(admin.uploads.iterdir()) == []
    assert admin.log("settings.log")[-1].endswith("][SYSTEM] Updating settings successful")


def test_networkd_dhcp_takes_over_from_static(admin: AdminDirectory, system: Path) -> None:
    assert settings(admin, STATIC, system) == 0
    assert settings(admin, DHCP, system) == 0
    network = (system / "etc/systemd/network/10-appliance.network").read_text()
    assert network == "[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n"
    # Ours and no longer wanted goes; what belongs to the system stays.
    assert not (system / "etc/systemd/timesyncd.conf.d/appliance.conf").exists()
    assert (system / "etc/resolv.conf").exists()


def test_netplan(admin: AdminDirectory, system: Path) -> None:
    put(system, MANAGED["netplan"])
    assert settings(admin, STATIC, system) == 0
    path = system / "etc/netplan/90-appliance.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["network"]["ethernets"] == {
        "eth0": {
            "dhcp4": False,
            "dhcp6": False,
            "addresses": ["192.168.1.100/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "192.168.1.1"}],
            "nameservers": {"addresses": ["192.168.1.2", "192.168.1.3"]},
        }
    }
    assert settings(admin, DHCP, system) == 0
    assert json.loads(path.read_text())["network"]["ethernets"] == {"eth0": {"dhcp4": True, "dhcp6": True}}


def test_ifupdown(admin: AdminDirectory, system: Path) -> None:
    put(system, MANAGED["ifupdown"])
    assert settings(admin, STATIC, system) == 0
    assert (system / "etc/network/interfaces").read_text() == (
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 192.168.1.100/24\n"
        "    gateway 192.168.1.1\n    dns-nameservers 192.168.1.2 192.168.1.3\n"
    )
    extra = system / "etc/network/interfaces.d"
    assert (extra / "extra").read_text() == ""
    # Every visible file there is read by ifupdown.
    assert sorted(path.name for path in extra.iterdir()) == [".extra.appliance-old", "extra"]
    assert settings(admin, DHCP, system) == 0
    assert (system / "etc/network/interfaces").read_text().endswith("auto eth0\niface eth0 inet dhcp\n")
    assert (system / "etc/network/interfaces").read_text().count("eth0") == 2


def test_ipv6(admin: AdminDirectory, system: Path) -> None:
    put(system, MANAGED["ifupdown"])
    assert settings(admin, STATIC_IPV6, system) == 0
    assert (
        "iface eth0 inet6 static\n    address 2001:db8::10/64\n    gateway fe80::1\n"
        in (system / "etc/network/interfaces").read_text()
    )


@pytest.mark.parametrize(("ip", "subnet", "length"), [
    ("10.1.2.3", "255.255.0.0", 16), ("10.1.2.3", "16", 16), ("10.1.2.3", "/16", 16),
    ("10.1.2.3", "255.255.255.255", 32), ("2001:db8::1", "64", 64), ("2001:db8::1", "/64", 64),
    ("2001:db8::1", "ffff:ffff:ffff:ffff::", 64),
])  # fmt: skip
def test_subnets(admin: AdminDirectory, system: Path, ip: str, subnet: str, length: int) -> None:
    router = str(ipaddress.ip_address(ip) + 1)
    conf = f"mode=static\ninterface=eth0\nip={ip}\nsubnet={subnet}\nrouter={router}\n"
    assert settings(admin, conf, system) == 0
    assert f"Address={ip}/{length}\n" in (system / "etc/systemd/network/10-appliance.network").read_text()


@pytest.mark.parametrize("manager", MANAGED)
def test_a_router_outside_of_the_subnet_is_on_the_link(admin: AdminDirectory, system: Path, manager: str) -> None:
    put(system, MANAGED[manager])
    assert settings(admin, STATIC.replace("router=192.168.1.1", "router=10.0.0.1"), system) == 0
    written = "".join(path.read_text() for path in system.rglob("*") if path.is_file())
    assert {
        "networkd": "Gateway=10.0.0.1\nGatewayOnLink=yes",
        "netplan": '"on-link": true',
        "ifupdown": "route replace default via 10.0.0.1 dev $IFACE onlink",
    }[manager] in written


def test_chrony_and_resolved_are_found(admin: AdminDirectory, system: Path) -> None:
    put(system, MANAGED["ifupdown"] | {"etc/chrony/chrony.conf": ""})
    (system / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    assert settings(admin, STATIC, system) == 0
    assert (system / "etc/chrony/sources.d/appliance.sources").read_text() == "server pool.ntp.org iburst\n"
    resolved = system / "etc/systemd/resolved.conf.d/appliance.conf"
    assert resolved.read_text() == "[Resolve]\nDNS=192.168.1.2 192.168.1.3\n"
    assert (system / "etc/resolv.conf").is_symlink()


@pytest.mark.parametrize("manager", MANAGED)
def test_with_apply_off_files_are_only_staged(admin: AdminDirectory, system: Path, manager: str) -> None:
    put(system, MANAGED[manager])
    before = {path: path.read_text() for path in system.rglob("*") if path.is_file()}
    assert settings(admin, STATIC, system, apply="0") == 0
    assert {path: path.read_text() for path in system.rglob("*") if path.is_file()} == before
    ours = {
        "networkd": "etc/systemd/network/10-appliance.network",
        "netplan": "etc/netplan/90-appliance.yaml",
        "ifupdown": "etc/network/interfaces",
    }[manager]
    assert "192.168.1.100" in (admin.path / "staged" / ours).read_text()
    assert any("only staged" in line for line in admin.log("settings.log"))
    assert (admin.etc / "network.json").exists()


def test_installed_files_come_back_when_one_cannot_be_installed(admin: AdminDirectory, system: Path) -> None:
    (system / "etc/systemd/timesyncd.conf.d/appliance.conf").mkdir(parents=True)
    (system / "etc/systemd/timesyncd.conf.d/appliance.conf/in the way").touch()
    assert settings(admin, STATIC, system) == 1
    assert (system / "etc/hostname").read_text() == "old\n"
    assert "127.0.1.1 old" in (system / "etc/hosts").read_text()
    assert not (system / "etc/systemd/network/10-appliance.network").exists()
    assert not (admin.etc / "network.json").exists()
    assert admin.log("settings.log")[-1].endswith(
        "Failed updating settings: the network configuration could not be applied"
    )


@pytest.mark.parametrize(("line", "bad"), [
    ("ip=192.168.1.100", "ip=$(touch /tmp/x)"),
    ("ip=192.168.1.100", "ip=999.1.1.1"),
    ("ip=192.168.1.100", "ip=192.168.1.100\nip=192.168.1.101"),
    ("subnet=255.255.255.0", "subnet=255.0.255.0"),
    ("subnet=255.255.255.0", "subnet="),
    ("router=192.168.1.1", "router=fe80::1"),
    ("router=192.168.1.1", "router="),
    ('hostname="test.host"', 'hostname="a`id`"'),
    ('hostname="test.host"', 'hostname="a b"'),
    ("interface=eth0", "interface=../eth0"),
    ("interface=eth0", "no equals sign"),
    ("mode=static", "mode=dhcp"),
    ('dns="192.168.1.2 192.168.1.3"', 'dns="nowhere"'),
])  # fmt: skip
def test_bad_values_change_nothing(admin: AdminDirectory, system: Path, line: str, bad: str) -> None:
    before = {path: path.read_text() for path in system.rglob("*") if path.is_file()}
    (admin.etc / "network.json").write_text("old")
    assert line in STATIC
    assert settings(admin, STATIC.replace(line, bad), system, mode="static") == 1
    assert {path: path.read_text() for path in system.rglob("*") if path.is_file()} == before
    assert (admin.etc / "network.json").read_text() == "old"
    assert "Failed updating settings: network settings: " in admin.log("settings.log")[-1]


def test_missing_files_and_wrong_arguments(admin: AdminDirectory) -> None:
    assert admin.run("settings").returncode == 2
    done = admin.run("settings", "dhcp")
    assert (done.returncode, done.stderr) == (1, "network.json is missing\n")


def test_without_interface_keeps_the_rest() -> None:
    text = (
        "# eth0 is mentioned here\nsource /etc/network/interfaces.d/*\nauto lo\nauto eth0 eth1 \\\n  eth2\n"
        "iface eth0 inet static\n\taddress 1.2.3.4\n# in between\n\nmapping eth*\n\tscript x\n"
        "iface eth01 inet dhcp\n"
    )
    assert without_interface(text, "eth0") == (
        "# eth0 is mentioned here\nsource /etc/network/interfaces.d/*\nauto lo\nauto eth1 eth2\n"
        "# in between\nmapping eth*\n\tscript x\niface eth01 inet dhcp\n"
    )
