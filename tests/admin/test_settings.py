"""Network and application settings: what is accepted, what it becomes, and the text of each refusal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import TOKEN, Answer, Server, running
from tests.support.surface import post_when_idle, when_idle
from tests.support.vendor import DEFAULT_SCRIPT, files_below, json_file, wrapper

STATIC = {
    "interface": "eth0",
    "hostname": "test.host",
    "ip_address": "192.168.1.100",
    "netmask": "255.255.255.0",
    "gateway": "192.168.1.1",
    "dns1": "192.168.1.2",
    "dns2": "192.168.1.3",
    "ntpserver": "pool.ntp.org",
}
DHCP = {"interface": "eth0", "hostname": "test.host"}
ADDRESS = "abcdef0123456789ABCDEF.:"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("settings")) as server:
        yield server


def upload(server: Server, folder: Path, value: object) -> Answer:
    file = folder / "settings.json"
    file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return post_when_idle(server, "/settings", f"settings=@{file}")


def accepted(server: Server, folder: Path, network: dict[str, Any], **more: Any) -> Any:
    """Upload, and return what GET settings shows once the script is done."""
    answer = upload(server, folder, {"network": network, **more})
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/settings"})
    assert answer.headers["location"] == "/api/v1/admin/settings"
    return server.until("/settings", lambda seen: seen.get("network", {}).get("hostname") == network["hostname"])


def conf(server: Server) -> list[str]:
    return (server.admin / "etc" / "network.conf").read_text().splitlines()


def test_nothing_there_is_404(server: Server) -> None:
    answer = server.get("/settings")
    assert (answer.status, answer.json) == (404, {"Status": "404 Not Found"})


def test_static(server: Server, tmp_path: Path) -> None:
    network = STATIC | {"hostname": "static.host"}
    seen = accepted(server, tmp_path, network, app={"name": "testapp", "ü": [1, None]})
    assert seen == {"network": {"mode": "static", **network}, "app": {"name": "testapp", "ü": [1, None]}}
    assert next(iter(seen["network"])) == "mode"
    assert conf(server) == [
        "mode=static", "interface=eth0", "ip=192.168.1.100", "subnet=255.255.255.0", "router=192.168.1.1",
        'dns="192.168.1.2 192.168.1.3"', 'hostname="static.host"', 'ntpserver="pool.ntp.org"',
    ]  # fmt: skip
    staged = files_below(server.admin / "staged")
    assert any(b"192.168.1.100" in content for content in staged.values())
    assert "apply is off" in (server.admin / "log" / "settings.log").read_text()


def test_static_ipv6(server: Server, tmp_path: Path) -> None:
    network = {
        "interface": "eth0", "hostname": "six.host", "ip_address": "2001:db8::10", "netmask": "64",
        "gateway": "2001:db8::1",
    }  # fmt: skip
    assert accepted(server, tmp_path, network)["network"] == {"mode": "static", **network}
    assert "subnet_ipv6=64" in conf(server)
    assert 'dns=""' in conf(server)


def test_dhcp_without_an_application(server: Server, tmp_path: Path) -> None:
    network = DHCP | {"hostname": "dhcp.host", "ntpserver": "ntp.host"}
    assert accepted(server, tmp_path, network) == {"network": {"mode": "dhcp", **network}, "app": {}}
    assert conf(server) == ["mode=dhcp", "interface=eth0", "hostname=dhcp.host", "ntpserver=ntp.host"]


@pytest.mark.parametrize("absent", [None, "", {}])
def test_values_that_count_as_absent(server: Server, tmp_path: Path, absent: object) -> None:
    name = f"absent-{type(absent).__name__}.host"
    network = STATIC | {"hostname": name, "gateway": absent, "dns1": absent, "ntpserver": absent}
    kept = {key: value for key, value in network.items() if key not in ("gateway", "dns1", "ntpserver")}
    assert accepted(server, tmp_path, network)["network"] == {"mode": "dhcp", **kept}


def test_a_mode_is_replaced_and_unknown_keys_stay_in_the_json(server: Server, tmp_path: Path) -> None:
    network = DHCP | {"hostname": "mode.host", "mode": "static", "vlan": {"id": 7}}
    expected = {"mode": "dhcp", **DHCP, "hostname": "mode.host", "vlan": {"id": 7}}
    assert accepted(server, tmp_path, network, app=None) == {"network": expected, "app": {}}
    assert not any("vlan" in line or "7" in line for line in conf(server))


def test_a_plain_json_body(server: Server) -> None:
    body = json.dumps({"network": DHCP | {"hostname": "json.host"}})
    path, kind = f"/settings?token={TOKEN}", "Content-Type: application/json"
    assert when_idle(lambda: server.curl("-H", kind, "-d", body, path=path)).status == 202
    server.until("/settings", lambda seen: seen["network"]["hostname"] == "json.host")
    for empty in ("", "[]"):
        assert server.curl("-H", kind, "-d", empty, path=path).status == 400


def string(option: str, allowed: str) -> str:
    return f"Missing or invalid string for option: {option}. Allowed: {allowed}"


def length(option: str, least: int, most: int) -> str:
    return f"Invalid string length for option: {option}. Allowed: >= {least} and <= {most}"


@pytest.mark.parametrize(("change", "message"), [
    ({"interface": None}, string("interface", "alphanumeric")),
    ({"interface": ""}, string("interface", "alphanumeric")),
    ({"interface": "eth-0"}, string("interface", "alphanumeric")),
    ({"interface": "eth0\n"}, string("interface", "alphanumeric")),
    ({"interface": 3}, string("interface", "alphanumeric")),
    ({"interface": "e0"}, length("interface", 3, 14)),
    ({"interface": "e" * 15}, length("interface", 3, 14)),
    ({"hostname": None}, string("hostname", "alphanumeric and .-")),
    ({"hostname": "hüst"}, string("hostname", "alphanumeric and .-")),
    ({"hostname": "a b c"}, string("hostname", "alphanumeric and .-")),
    ({"hostname": "ab"}, length("hostname", 3, 255)),
    ({"hostname": "a" * 256}, length("hostname", 3, 255)),
    ({"ip_address": "192.168.1.x"}, string("ip_address", ADDRESS)),
    ({"ip_address": 1921681100}, string("ip_address", ADDRESS)),
    ({"ip_address": ["1.2.3.4"]}, string("ip_address", ADDRESS)),
    ({"ip_address": "::"}, length("ip_address", 3, 45)),
    ({"ip_address": "1" * 46}, length("ip_address", 3, 45)),
    ({"netmask": "255.255.255.0;"}, string("netmask", ADDRESS + "/")),
    ({"netmask": "8"}, length("netmask", 2, 45)),
    ({"gateway": "$(id)"}, string("gateway", ADDRESS)),
    ({"dns1": "1.1.1.1 8.8.8.8"}, string("dns1", ADDRESS)),
    ({"dns2": "::"}, length("dns2", 3, 45)),
    ({"ntpserver": "pool_ntp"}, string("ntpserver", "alphanumeric and .-:")),
    ({"ntpserver": 'x"; reboot; "'}, string("ntpserver", "alphanumeric and .-:")),
    ({"ntpserver": "ab"}, length("ntpserver", 3, 255)),
])  # fmt: skip
def test_refused_values(server: Server, tmp_path: Path, change: dict[str, object], message: str) -> None:
    before = files_below(server.admin, without=("log/",))
    answer = upload(server, tmp_path, {"network": STATIC | change})
    assert (answer.status, answer.json) == (400, {"Status": "400 Bad Request", "Error-Message": message})
    assert files_below(server.admin, without=("log/",)) == before


@pytest.mark.parametrize("change", [
    {"ip_address": "999.1.1.1"}, {"ip_address": "::::"}, {"netmask": "255.0.255.0"}, {"gateway": "1.2.3"},
    {"gateway": "2001:db8::1"}, {"dns1": "..."}, {"hostname": "-host"}, {"hostname": "a..b"},
])  # fmt: skip
def test_right_characters_that_mean_nothing(server: Server, tmp_path: Path, change: dict[str, str]) -> None:
    before = files_below(server.admin, without=("log/",))
    answer = upload(server, tmp_path, {"network": STATIC | change})
    assert answer.status == 400
    assert answer.json["Error-Message"].startswith(f"Missing or invalid string for option: {next(iter(change))}. ")
    assert files_below(server.admin, without=("log/",)) == before


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b'"network"', b"\xff\xfe", b"\x1f\x8b\x08", b'{"app":{}}', b'{"network":[]}',
    b'{"network":{}}', b'{"network":null}', b'{"network":' * 5000, b"[" * 100_000,
])  # fmt: skip
def test_what_is_no_settings_file(server: Server, tmp_path: Path, content: bytes) -> None:
    answer = upload(server, tmp_path, content)
    assert answer.status == 400
    assert answer.json["Error-Message"]


@pytest.mark.parametrize("fields", [(), ("other=x",), ("settings=@FILE", "settings=@FILE")])
def test_forms_that_are_refused(server: Server, tmp_path: Path, fields: tuple[str, ...]) -> None:
    file = json_file(tmp_path / "settings.json", {"network": DHCP | {"hostname": "refused.host"}})
    answer = server.post("/settings", *(field.replace("FILE", str(file)) for field in fields))
    assert answer.status == 400
    assert server.get("/settings").json["network"]["hostname"] != "refused.host"


def test_404_unless_both_files_are_there(server: Server) -> None:
    app = server.admin / "etc" / "app.json"
    content = app.read_bytes()
    app.unlink()
    assert server.get("/settings").status == 404
    app.write_bytes(content)
    assert server.get("/settings").status == 200


def test_a_second_one_is_refused_while_one_runs(server: Server, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = wrapper(server, f'while [ ! -e "{go}" ]; do sleep 0.05; done\n' + DEFAULT_SCRIPT)
    try:
        first = json_file(tmp_path / "first.json", {"network": DHCP | {"hostname": "first.host"}})
        second = json_file(tmp_path / "second.json", {"network": DHCP | {"hostname": "second.host"}})
        assert post_when_idle(server, "/settings", f"settings=@{first}").status == 202
        refused = server.post("/settings", f"settings=@{second}")
        assert (refused.status, refused.json["Error-Message"]) == (400, "Settings is already running")
        go.touch()
        server.until("/settings", lambda seen: seen["network"]["hostname"] == "first.host")
    finally:
        go.touch()
        script.unlink()


def test_a_vendors_wrapper_gets_mode_and_files(server: Server, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = wrapper(
        server,
        f'echo "$SSH_ORIGINAL_COMMAND $*" >"{seen}.new"; cat "$APPLIANCE_UPLOADS/network.conf" >>"{seen}.new"\n'
        f'mv "{seen}.new" "{seen}"\nexit 1\n',
    )
    try:
        network = STATIC | {"hostname": "vendor.host"}
        assert upload(server, tmp_path, {"network": network}).status == 202
        server.until("/settings", lambda _: seen.exists())
        assert seen.read_text().splitlines()[:2] == ["settings static", "mode=static"]
        assert server.get("/settings").json["network"]["hostname"] != "vendor.host"
    finally:
        script.unlink()
