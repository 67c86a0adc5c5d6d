"""Interfaces changed and refused over real HTTPS, in a private network namespace, seen by ip(8)."""

import sqlite3
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.machine import Machine, SystemServer, system_server
from tests.support.network import addresses, everything, exists, flags, neighbour, routes, wire
from tests.support.processes import wait_for

ADDRESS = "/network/interfaces/v0/address"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("network"), address="0.0.0.0") as server:
        yield server


@pytest.fixture
def veth(server: SystemServer) -> Iterator[Machine]:
    """Interfaces v0 and v1, up, on one wire, without addresses that come by themselves some time."""
    machine = server.machine
    with wire(machine, "v0", "v1"):
        machine.run("ip", "link", "set", "v0", "up", "addrgenmode", "none")
        machine.run("ip", "link", "set", "v1", "up", "addrgenmode", "none")
        yield machine


def shown(server: SystemServer, name: str, path: str = "/network/interfaces") -> dict[str, Any]:
    (found,) = [each for each in next(iter(server.data(path).values())) if each["name"] == name]
    return dict(found)


def body(address: str, netmask: int | str = 24, gateway: str | None = None) -> dict[str, object]:
    return {"address": address, "netmask": netmask, **({"gateway": gateway} if gateway else {})}


# -- reading


def test_interfaces_are_what_the_kernel_has(server: SystemServer, veth: Machine) -> None:
    veth.run("ip", "address", "add", "10.1.0.1/24", "dev", "v0")
    found = server.data("/network/interfaces", who="reader")["interfaces"]
    expected = veth.json("ip", "-j", "-d", "address", "show")
    assert [each["name"] for each in found] == [each["ifname"] for each in expected]
    for ours, its in zip(found, expected, strict=True):
        assert (ours["index"], ours["mtu"], ours["mac"]) == (its["ifindex"], its["mtu"], its["address"])
        assert sorted(ours["addresses"]) == sorted(f"{each['local']}/{each['prefixlen']}" for each in its["addr_info"])
        assert ours["state"] == ("up" if "UP" in its["flags"] else "down")
        assert ours["operational_state"] == its["operstate"].lower()
    assert {each["name"]: each["type"] for each in found} == {"lo": "loopback", "v0": "veth", "v1": "veth"}


def test_statistics_are_fresh(server: SystemServer) -> None:
    (before,) = server.machine.json("ip", "-j", "-s", "link", "show", "dev", "lo")  # the requests themselves go by it
    received = before["stats64"]["rx"]
    found = wait_for(
        lambda: (seen := shown(server, "lo")["statistics"])["rx_bytes"] > received["bytes"] and seen, "newer figures"
    )
    assert found["rx_packets"] > received["packets"]
    assert (found["tx_bytes"], found["tx_packets"]) == (found["rx_bytes"], found["rx_packets"])
    assert [found[each] for each in ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("veth", ["v0", "v1"]),
        ("veth,loopback", ["lo", "v0", "v1"]),
        ("%20veth%20,%20nothing", ["v0", "v1"]),
        ("device", []),
        ("ethernet", []),
        ("", ["lo", "v0", "v1"]),
    ],
)
def test_interfaces_of_some_types(server: SystemServer, veth: Machine, wanted: str, names: list[str]) -> None:
    found = server.data(f"/network/interfaces?type={wanted}")["interfaces"]
    assert sorted(each["name"] for each in found) == names


def test_types(server: SystemServer, veth: Machine) -> None:
    assert server.data("/network/interface-types", who="reader") == {"types": ["loopback", "veth"]}


def test_what_others_change_is_seen_at_once(server: SystemServer, veth: Machine) -> None:
    for number in range(20):
        veth.run("ip", "link", "set", "v0", "mtu", str(1400 + number))
        assert shown(server, "v0")["mtu"] == 1400 + number


# -- up and down


def test_up_and_down(server: SystemServer, veth: Machine) -> None:
    answer = server.api("PUT", "/network/interfaces/v0/down")
    assert answer.status == 200
    assert answer.json["data"]["message"] == "Interface v0 brought down successfully"
    assert answer.json["data"]["persistence_warning"]
    assert "UP" not in flags(veth, "v0")
    assert shown(server, "v0")["state"] == "down"
    answer = server.api("PUT", "/network/interfaces/v0/up")
    assert answer.json["data"]["message"] == "Interface v0 brought up successfully"
    assert "UP" in flags(veth, "v0")
    assert shown(server, "v0")["state"] == "up"
    assert server.api("PUT", "/network/interfaces/v0/up").status == 200


# -- addresses


@pytest.mark.parametrize(
    ("given", "netmask", "seen"),
    [
        ("192.168.1.100", 24, "192.168.1.100/24"),
        ("192.168.1.100", "24", "192.168.1.100/24"),
        ("192.168.1.100", "255.255.255.0", "192.168.1.100/24"),
        ("192.168.1.100", 32, "192.168.1.100/32"),
        ("192.168.1.0", 31, "192.168.1.0/31"),
        ("fd12::1:2", 64, "fd12::1:2/64"),
        ("FD12:0:0::0001", "128", "fd12::1/128"),
    ],
)
def test_an_address(server: SystemServer, veth: Machine, given: str, netmask: int | str, seen: str) -> None:
    answer = server.api("POST", ADDRESS, body(given, netmask))
    assert answer.status == 200, answer
    assert seen in answer.json["data"]["message"]
    assert addresses(veth, "v0") == [seen]
    assert seen in shown(server, "v0")["addresses"]
    assert server.api("POST", ADDRESS, body(given, netmask)).status == 409
    assert addresses(veth, "v0") == [seen]
    assert server.api("DELETE", f"{ADDRESS}?address={given}").status == 200
    assert addresses(veth, "v0") == []
    assert server.api("DELETE", f"{ADDRESS}?address={given}").status == 404


def test_ipv4_has_a_broadcast_address(server: SystemServer, veth: Machine) -> None:
    assert server.api("POST", ADDRESS, body("10.1.0.1", 20)).status == 200
    (found,) = veth.json("ip", "-j", "-4", "address", "show", "dev", "v0")
    assert found["addr_info"][0]["broadcast"] == "10.1.15.255"


@pytest.mark.parametrize(
    ("family", "given", "length", "gateway"), [("-4", "10.1.0.2", 24, "10.1.0.1"), ("-6", "fd01::2", 64, "fd01::1")]
)
def test_an_address_with_its_gateway(
    server: SystemServer, veth: Machine, family: str, given: str, length: int, gateway: str
) -> None:
    assert server.api("POST", ADDRESS, body(given, length, gateway)).status == 200
    (default,) = [route for route in routes(veth, family) if route["dst"] == "default"]
    assert (default["gateway"], default["dev"], default["protocol"]) == (gateway, "v0", "static")
    # A second one that leads elsewhere is refused, with its address.
    other, another = (
        given.replace("1.0.2", "1.0.3").replace("::2", "::3"),
        gateway.replace("0.1", "0.9") + "9" * (family == "-6"),
    )
    answer = server.api("POST", ADDRESS, body(other, length, another))
    assert answer.status == 409, answer
    assert addresses(veth, "v0") == [f"{given}/{length}"]
    # To the same, it is not.
    assert server.api("POST", ADDRESS, body(other, length, gateway)).status == 200
    assert [route for route in routes(veth, family) if route["dst"] == "default"] == [default]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("given", "length", "gateway"),
    [
        ("10.1.0.2", 24, "10.2.0.1"),
        ("10.1.0.2", 32, "10.1.0.1"),
        ("fd01::2", 64, "fd02::1"),
        ("10.1.0.2", 24, "10.1.0.2"),
        ("10.1.0.2", 24, "fd01::1"),
        ("10.1.0.2", 24, "0.0.0.0"),
        ("10.1.0.2", 24, "nonsense"),
    ],
)
def test_a_bad_gateway_leaves_nothing(
    server: SystemServer, veth: Machine, method: str, given: str, length: int, gateway: str
) -> None:
    veth.run("ip", "address", "add", "10.7.0.1/24", "dev", "v0")
    veth.run("ip", "address", "add", "10.7.0.2/24", "dev", "v0")
    veth.run("ip", "address", "add", "fd07::1/64", "dev", "v0")
    veth.run("ip", "route", "add", "default", "via", "10.7.0.9")
    veth.run("ip", "route", "add", "10.66.0.0/16", "via", "10.7.0.8", "proto", "static")
    before = everything(veth)
    answer = server.api(method, ADDRESS, body(given, length, gateway))
    assert answer.status in (400, 409), answer
    assert everything(veth) == before


def test_a_gateway_waits_for_the_interface_to_be_up(server: SystemServer, veth: Machine) -> None:
    veth.run("ip", "link", "set", "v0", "down")
    for given in (body("10.1.0.2", 24, "10.1.0.1"), body("fd01::2", 64, "fd01::1")):
        answer = server.api("POST", ADDRESS, given)
        assert answer.status == 409, answer
        assert "down" in answer.json["error"]["message"]
    assert addresses(veth, "v0") == []
    assert server.api("POST", ADDRESS, body("10.1.0.2")).status == 200


@pytest.mark.parametrize(
    ("had", "given", "length", "gateway", "seen"),
    [
        (["10.1.0.2/24"], "10.1.0.3", 24, None, ["10.1.0.3/24"]),
        (["10.1.0.2/24", "10.1.0.3/24"], "10.1.0.3", 24, None, ["10.1.0.3/24"]),
        (["10.1.0.2/24", "10.1.0.3/24"], "10.1.0.2", 24, "10.1.0.1", ["10.1.0.2/24"]),
        (["10.1.0.2/24"], "10.1.0.2", 16, None, ["10.1.0.2/16"]),
        (["10.1.0.2/24"], "172.16.0.1", 12, "172.16.0.9", ["172.16.0.1/12"]),
        (["fd01::2/64"], "fd01::2", 48, None, ["fd01::2/48"]),
        (["fd01::2/64", "10.1.0.2/24"], "fd01::3", 64, "fe80::99", ["10.1.0.2/24", "fd01::3/64"]),
        ([], "10.1.0.2", 24, None, ["10.1.0.2/24"]),
    ],
)
def test_an_address_takes_the_place_of_others(
    server: SystemServer, veth: Machine, had: list[str], given: str, length: int, gateway: str | None, seen: list[str]
) -> None:
    veth.run("ip", "address", "add", "fe80::1/64", "dev", "v0")
    for each in had:
        veth.run("ip", "address", "add", each, "dev", "v0")
    answer = server.api("PUT", ADDRESS, body(given, length, gateway))
    assert answer.status == 200, answer
    assert addresses(veth, "v0") == seen
    assert "fe80::1/64" in shown(server, "v0")["addresses"]
    if gateway is not None:
        found = routes(veth, "-6" if ":" in given else "-4")
        assert [route["gateway"] for route in found if route["dst"] == "default"] == [gateway]


def test_replacing_keeps_the_routes_that_can_be_kept(server: SystemServer, veth: Machine) -> None:
    veth.run("ip", "address", "add", "10.1.0.2/24", "dev", "v0")
    veth.run("ip", "route", "add", "default", "via", "10.1.0.1")
    veth.run("ip", "route", "add", "10.66.0.0/16", "via", "10.1.0.8")
    assert server.api("PUT", ADDRESS, body("10.1.0.3", 24, "10.1.0.4")).status == 200
    assert {route["dst"]: route.get("gateway") for route in routes(veth)} == {
        "default": "10.1.0.4",
        "10.66.0.0/16": "10.1.0.8",
        "10.1.0.0/24": None,
    }


def test_removing_an_address_keeps_the_others(server: SystemServer, veth: Machine) -> None:
    # The kernel removes the later ones of a network with the first.
    for last in (2, 3, 4):
        veth.run("ip", "address", "add", f"10.1.0.{last}/24", "dev", "v0")
    veth.run("ip", "route", "add", "default", "via", "10.1.0.1")
    assert server.api("DELETE", f"{ADDRESS}?address=10.1.0.2").status == 200
    assert addresses(veth, "v0") == ["10.1.0.3/24", "10.1.0.4/24"]
    assert [route["gateway"] for route in routes(veth) if route["dst"] == "default"] == ["10.1.0.1"]


def test_an_address_with_two_prefixes_is_told_apart(server: SystemServer, veth: Machine) -> None:
    veth.run("ip", "address", "add", "10.1.0.2/24", "dev", "v0")
    veth.run("ip", "address", "add", "10.1.0.2/16", "dev", "v0")
    assert server.api("DELETE", f"{ADDRESS}?address=10.1.0.2").status == 409
    assert server.api("DELETE", f"{ADDRESS}?address=10.1.0.2/17").status == 404
    assert server.api("DELETE", f"{ADDRESS}?address=10.1.0.2/24").status == 200
    assert addresses(veth, "v0") == ["10.1.0.2/16"]


def test_ipv6_that_is_off(server: SystemServer, veth: Machine) -> None:
    veth.run("sysctl", "-q", "-w", "net.ipv6.conf.v0.disable_ipv6=1")
    answer = server.api("POST", ADDRESS, body("fd01::2", 64))
    assert (answer.status, answer.json["error"]["message"]) == (409, "IPv6 is off on v0")


# -- bridges, VLANs, bonds


def test_a_life_of_a_bridge(server: SystemServer, veth: Machine) -> None:
    with wire(veth, "w0", "w1"):
        answer = server.api("POST", "/network/bridge", {"name": "br0", "interfaces": ["v0", "w0"]})
        assert answer.status == 200, answer
        assert answer.json["data"]["message"] == "Bridge br0 created successfully"
        assert "UP" in flags(veth, "br0")
        ports = veth.json("ip", "-j", "link", "show", "master", "br0")
        assert sorted(each["ifname"] for each in ports) == ["v0", "w0"]
        assert sorted(shown(server, "br0", "/network/bridges")["interfaces"]) == ["v0", "w0"]
        assert shown(server, "v0")["master"] == "br0"
        for refused, status in [
            ({"name": "br0"}, 409),
            ({"name": "br1", "interfaces": ["v0"]}, 409),
            ({"name": "br1", "interfaces": ["v1", "nothing"]}, 404),
            ({"name": "br1", "interfaces": ["v1", "br0"]}, 409),
            ({"name": "br1", "interfaces": ["v1", "v1"]}, 400),
        ]:
            assert server.api("POST", "/network/bridge", refused).status == status, refused
            assert not exists(veth, "br1")
        assert "master" not in veth.json("ip", "-j", "link", "show", "dev", "v1")[0]
        assert server.api("DELETE", "/network/bridge/v0").status == 404
        veth.run("ip", "link", "add", "link", "br0", "name", "above", "type", "macvlan")
        answer = server.api("DELETE", "/network/bridge/br0")
        assert (answer.status, "above" in answer.json["error"]["message"]) == (409, True)
        veth.run("ip", "link", "delete", "above")
        assert server.api("DELETE", "/network/bridge/br0").status == 200
        assert not exists(veth, "br0")
        assert exists(veth, "v0")
        assert server.api("DELETE", "/network/bridge/br0").status == 404


def test_a_bridge_without_ports(server: SystemServer) -> None:
    assert server.api("POST", "/network/bridge", {"name": "br0"}).status == 200
    assert shown(server, "br0", "/network/bridges")["interfaces"] == []
    assert server.api("DELETE", "/network/bridge/br0").status == 200


def test_a_life_of_a_vlan(server: SystemServer, veth: Machine) -> None:
    supported = veth.run("ip", "link", "add", "link", "v0", "name", "try", "type", "vlan", "id", "9", check=False)
    wanted = {"interface": "v0", "vlan_id": 5}
    answer = server.api("POST", "/network/vlan", wanted)
    if supported.returncode:
        assert answer.status == 409, answer
        assert answer.json["error"]["message"] == "The kernel of this machine has no support for VLANs"
        assert not exists(veth, "v0.5")
        assert server.data("/network/vlans") == {"vlans": []}
        return
    veth.run("ip", "link", "delete", "try")
    assert answer.status == 200, answer
    (found,) = veth.json("ip", "-j", "-d", "link", "show", "dev", "v0.5")
    assert (found["link"], found["linkinfo"]["info_data"]["id"], "UP" in found["flags"]) == ("v0", 5, True)
    seen = shown(server, "v0.5", "/network/vlans")
    assert (seen["interface"], seen["vlan_id"], seen["type"]) == ("v0", 5, "vlan")
    assert server.api("POST", "/network/vlan", wanted).status == 409
    assert server.api("POST", "/network/vlan", {**wanted, "name": "other"}).status == 409
    assert server.api("DELETE", "/network/vlan/v0").status == 404
    assert server.api("DELETE", "/network/vlan/v0.5").status == 200
    assert not exists(veth, "v0.5")


def test_bonds_are_listed(server: SystemServer) -> None:
    supported = server.machine.run("ip", "link", "add", "bond7", "type", "bond", check=False).returncode == 0
    names = [each["name"] for each in server.data("/network/bonds")["bonds"]]
    assert names == (["bond7"] if supported else [])
    server.machine.run("ip", "link", "delete", "bond7", check=False)


# -- refusals

_LONG = "x" * 16


@pytest.mark.parametrize(
    ("method", "path", "given", "status"),
    [
        ("PUT", "/network/interfaces/nothing/up", None, 404),
        ("PUT", "/network/interfaces/nothing/down", None, 404),
        ("PUT", "/network/interfaces/--help/down", None, 404),
        ("PUT", "/network/interfaces/-a/up", None, 404),
        ("PUT", f"/network/interfaces/{_LONG}/up", None, 400),
        ("PUT", "/network/interfaces/a%20b/up", None, 400),
        ("PUT", "/network/interfaces/a%0Ab/up", None, 400),
        ("PUT", "/network/interfaces/%2e%2e/up", None, 400),
        ("PUT", "/network/interfaces/a:b/up", None, 400),
        ("PUT", "/network/interfaces/v0/up?rollback=0", None, 400),
        ("PUT", "/network/interfaces/v0/up?rollback=3601", None, 400),
        ("PUT", "/network/interfaces/v0/up?rollback=soon", None, 400),
        ("PUT", "/network/interfaces/v0/up?force=perhaps", None, 400),
        ("POST", "/network/interfaces/nothing/address", body("10.1.0.1"), 404),
        ("POST", ADDRESS, None, 400),
        ("POST", ADDRESS, {"address": "10.1.0.1"}, 400),
        ("POST", ADDRESS, body("10.1.0.1", 33), 400),
        ("POST", ADDRESS, body("10.1.0.1", 0), 400),
        ("POST", ADDRESS, body("10.1.0.1", -1), 400),
        ("POST", ADDRESS, body("10.1.0.1", "255.0.255.0"), 400),
        ("POST", ADDRESS, body("10.1.0.1", "0.0.0.0"), 400),
        ("POST", ADDRESS, body("10.1.0.1", "/"), 400),
        ("POST", ADDRESS, body("fd01::1", 129), 400),
        ("POST", ADDRESS, body("fd01::1", "255.255.0.0"), 400),
        ("POST", ADDRESS, body("fd01::1%v0", 64), 400),
        ("POST", ADDRESS, body("::ffff:10.1.0.1", 64), 400),
        ("POST", ADDRESS, body("10.1.0.1/24", 24), 400),
        ("POST", ADDRESS, body("10.1.0.0", 24), 400),
        ("POST", ADDRESS, body("10.1.0.255", 24), 400),
        ("POST", ADDRESS, body("0.0.0.0", 24), 400),
        ("POST", ADDRESS, body("255.255.255.255", 32), 400),
        ("POST", ADDRESS, body("224.0.0.1", 24), 400),
        ("POST", ADDRESS, body("ff02::1", 64), 400),
        ("POST", ADDRESS, body("--help", 24), 400),
        ("POST", ADDRESS, {"address": "10.1.0.1", "netmask": True}, 400),
        ("POST", ADDRESS, {"address": "10.1.0.1", "netmask": 24, "gateway": 5}, 400),
        ("PUT", ADDRESS, body("10.1.0.1", 99), 400),
        ("DELETE", ADDRESS, None, 400),
        ("DELETE", f"{ADDRESS}?address=nonsense", None, 400),
        ("DELETE", f"{ADDRESS}?address=10.1.0.1/99", None, 400),
        ("DELETE", f"{ADDRESS}?address=10.1.0.1", None, 404),
        ("POST", "/network/bridge", {}, 400),
        ("POST", "/network/bridge", {"name": ""}, 400),
        ("POST", "/network/bridge", {"name": "--help"}, 400),
        ("POST", "/network/bridge", {"name": ".."}, 400),
        ("POST", "/network/bridge", {"name": "br%d"}, 400),
        ("POST", "/network/bridge", {"name": "a/b"}, 400),
        ("POST", "/network/bridge", {"name": "a b"}, 400),
        ("POST", "/network/bridge", {"name": "br0\n"}, 400),
        ("POST", "/network/bridge", {"name": "brücke"}, 400),
        ("POST", "/network/bridge", {"name": _LONG}, 400),
        ("POST", "/network/bridge", {"name": "all"}, 400),
        ("POST", "/network/bridge", {"name": "default"}, 400),
        ("POST", "/network/bridge", {"name": "v0"}, 409),
        ("POST", "/network/bridge", {"name": "br0", "interfaces": ["--help"]}, 404),
        ("POST", "/network/bridge", {"name": "br0", "interfaces": [_LONG]}, 400),
        ("POST", "/network/bridge", {"name": "br0", "interfaces": "v0"}, 400),
        ("POST", "/network/bridge", {"name": "br0", "interfaces": ["lo"]}, 409),
        ("POST", "/network/bridge?force=true", {"name": "br0", "interfaces": ["v0", "lo"]}, 409),
        ("DELETE", "/network/bridge/nothing", None, 404),
        ("DELETE", "/network/bridge/v0", None, 404),
        ("DELETE", f"/network/bridge/{_LONG}", None, 400),
        ("POST", "/network/vlan", {"interface": "nothing", "vlan_id": 5}, 404),
        ("POST", "/network/vlan", {"interface": "v0", "vlan_id": 0}, 400),
        ("POST", "/network/vlan", {"interface": "v0", "vlan_id": 4095}, 400),
        ("POST", "/network/vlan", {"interface": "v0", "vlan_id": "5"}, 400),
        ("POST", "/network/vlan", {"interface": "v0", "vlan_id": 5, "name": "--help"}, 400),
        ("POST", "/network/vlan", {"interface": "v0", "vlan_id": 5, "name": "v1"}, 409),
        ("DELETE", "/network/vlan/nothing", None, 404),
        ("DELETE", "/network/vlan/v0", None, 404),
        ("PUT", "/network/interfaces/lo/down", None, 409),
        ("DELETE", "/network/interfaces/lo/address?address=127.0.0.1", None, 409),
        ("PUT", "/network/interfaces/lo/address", body("127.0.0.2", 8), 409),
        ("POST", "/network/confirm", None, 409),
    ],
)
def test_what_cannot_be_is_refused(
    server: SystemServer, veth: Machine, method: str, path: str, given: object, status: int
) -> None:
    before = everything(veth)
    answer = server.api(method, path, given)
    assert answer.status == status, answer
    assert answer.json["status"] == "error"
    assert answer.json["error"]["message"]
    assert everything(veth) == before


def test_every_endpoint_of_the_contract_is_there(server: SystemServer) -> None:
    paths = server.api("GET", "/openapi.json", who=None).json["paths"]
    found = {(method, path.removeprefix("/api/v1")) for path, operations in paths.items() for method in operations}
    assert {(method, path) for method, path in found if path.startswith("/network/")} == {
        ("get", "/network/interfaces"),
        ("put", "/network/interfaces/{name}/up"),
        ("put", "/network/interfaces/{name}/down"),
        ("post", "/network/interfaces/{name}/address"),
        ("put", "/network/interfaces/{name}/address"),
        ("delete", "/network/interfaces/{name}/address"),
        ("get", "/network/interface-types"),
        ("get", "/network/bridges"),
        ("get", "/network/bonds"),
        ("get", "/network/vlans"),
        ("post", "/network/bridge"),
        ("delete", "/network/bridge/{name}"),
        ("post", "/network/vlan"),
        ("delete", "/network/vlan/{name}"),
        ("post", "/network/confirm"),
    }


@pytest.mark.parametrize("path", ["interfaces", "interface-types", "bridges", "bonds", "vlans"])
def test_readers_read_and_strangers_do_not(server: SystemServer, path: str) -> None:
    assert server.api("GET", f"/network/{path}", who="reader").status == 200
    assert server.api("GET", f"/network/{path}", who=None).status == 401


def test_readers_change_nothing(server: SystemServer, veth: Machine) -> None:
    before = everything(veth)
    for method, path, given in [
        ("PUT", "/network/interfaces/v0/down", None),
        ("POST", ADDRESS, body("10.1.0.1")),
        ("POST", "/network/bridge", {"name": "br0"}),
        ("POST", "/network/confirm", None),
    ]:
        assert server.api(method, path, given, who="reader").status == 403
        assert server.api(method, path, given, who=None).status == 401
    assert everything(veth) == before


def test_changes_are_audited(server: SystemServer, veth: Machine) -> None:
    assert server.api("POST", ADDRESS, body("10.1.0.1")).status == 200
    assert server.api("PUT", "/network/interfaces/nothing/down").status == 404
    with sqlite3.connect(server.server.state / "appliance.db") as database:
        rows = database.execute(
            "SELECT action, object, outcome, actor_name, details FROM audit ORDER BY id DESC LIMIT 2"
        ).fetchall()
    database.close()
    (action, object, outcome, actor, _), added = rows
    assert (action, object, actor) == ("network.down", "nothing", "admin")
    assert outcome.startswith("refused")
    assert added[:4] == ("network.address.add", "v0", "success", "admin")
    assert "10.1.0.1" in added[4]


# -- whoever comes by an interface does not lose it


def test_what_carries_the_request_is_spared(server: SystemServer, veth: Machine) -> None:
    with neighbour(server, "n0", "10.20.0.1/24", "10.20.0.2/24") as far:
        assert far.api("GET", "/network/interfaces").status == 200
        assert far.api("PUT", "/network/interfaces/v0/down").status == 200
        for method, path, given in [
            ("PUT", "/network/interfaces/n0/down", None),
            ("PUT", "/network/interfaces/n0/down?rollback=9", None),
            ("DELETE", "/network/interfaces/n0/address?address=10.20.0.1", None),
            ("PUT", "/network/interfaces/n0/address", body("10.20.0.9")),
            ("POST", "/network/bridge", {"name": "br0", "interfaces": ["n0"]}),
        ]:
            before = everything(veth)
            answer = far.api(method, path, given)
            assert answer.status == 409, (method, path, answer)
            assert "force=true" in answer.json["error"]["message"]
            assert everything(veth) == before
        # From elsewhere it is an interface like others, and another prefix leaves the address.
        assert far.api("PUT", "/network/interfaces/n0/address", body("10.20.0.1", 16)).status == 200
        assert server.api("PUT", "/network/interfaces/n0/down").status == 200


def test_the_bridge_and_its_ports_are_spared(server: SystemServer, veth: Machine) -> None:
    with neighbour(server, "n0", "10.20.0.9/24", "10.20.0.2/24") as far:
        assert server.api("POST", "/network/bridge", {"name": "br0", "interfaces": ["n0"]}).status == 200
        veth.run("ip", "address", "delete", "10.20.0.9/24", "dev", "n0")
        veth.run("ip", "address", "add", "10.20.0.9/24", "dev", "br0")
        wait_for(lambda: far.api("GET", "/network/bridges").status == 200, "the bridge to carry")
        for method, path in [
            ("PUT", "/network/interfaces/n0/down"),
            ("PUT", "/network/interfaces/br0/down"),
            ("DELETE", "/network/bridge/br0"),
        ]:
            assert far.api(method, path).status == 409, path
        assert server.api("DELETE", "/network/bridge/br0").status == 200


def test_force_is_force(server: SystemServer, veth: Machine) -> None:
    with neighbour(server, "n0", "10.20.0.1/24", "10.20.0.2/24") as far:
        # The answer has no way any more; undone, it comes by itself.
        answer = far.api("PUT", "/network/interfaces/n0/down?force=true&rollback=1")
        assert answer.status == 200
        wait_for(lambda: "UP" in flags(veth, "n0"), "the way to come back")
        assert far.api("GET", "/network/interfaces").status == 200


def test_the_default_route_of_the_request_is_spared(server: SystemServer, veth: Machine) -> None:
    with neighbour(server, "n0", "10.20.0.1/24", "10.20.0.2/24") as far:
        veth.run("ip", "route", "add", "default", "via", "10.20.0.2")
        subject = ["ip", "address", "add", "10.99.0.1/32", "dev", "lo"]
        far.machine.run(*far.server.prefix[-4:], *subject)
        far.machine.run(
            *far.server.prefix[-4:], "ip", "route", "replace", "10.20.0.0/24", "dev", "far", "src", "10.99.0.1"
        )
        before = everything(veth)
        wanted = body("10.30.0.1", 24, "10.30.0.9")
        answer = far.api("PUT", ADDRESS, wanted)
        assert (answer.status, "default route" in answer.json["error"]["message"]) == (409, True)
        assert everything(veth) == before
        assert server.api("PUT", ADDRESS, wanted).status == 200


def test_the_address_that_the_default_route_sends_from_is_spared(server: SystemServer, veth: Machine) -> None:
    with neighbour(server, "n0", "10.20.0.1/24", "10.20.0.2/24") as far:
        veth.run("ip", "address", "add", "10.88.0.1/32", "dev", "v0")
        veth.run("ip", "route", "add", "default", "via", "10.20.0.2", "src", "10.88.0.1")
        inside = far.server.prefix[-4:]
        far.machine.run(*inside, "ip", "address", "add", "10.99.0.1/32", "dev", "lo")
        far.machine.run(*inside, "ip", "route", "replace", "10.20.0.0/24", "dev", "far", "src", "10.99.0.1")
        before = everything(veth)
        for method, path, given in [
            ("DELETE", f"{ADDRESS}?address=10.88.0.1", None),
            ("PUT", ADDRESS, body("10.30.0.1", 24)),
        ]:
            answer = far.api(method, path, given)
            assert (answer.status, "default route" in answer.json["error"]["message"]) == (409, True)
            assert everything(veth) == before
        assert server.api("DELETE", f"{ADDRESS}?address=10.88.0.1").status == 200
        assert not [each for each in routes(veth) if each["dst"] == "default"]


# -- under load


def test_a_thousand_changes_a_second_leave_it_right(server: SystemServer, veth: Machine) -> None:
    """For some seconds; `right` means that nothing is missed, however the notices were lost."""
    script = "".join(
        f"link set v0 mtu {1300 + number % 100}\naddress add 10.1.{number % 250}.1/24 dev v0\n"
        f"link set v1 mtu {1300 + number % 100}\naddress delete 10.1.{number % 250}.1/24 dev v0\n"
        for number in range(1000)
    )
    process = subprocess.Popen([*veth.prefix, "ip", "-batch", "-"], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    with process.stdin as stdin:
        for line in script.splitlines(keepends=True):
            stdin.write(line)
        stdin.write("address add 10.99.0.1/24 dev v0\n")
    seen = 0
    while process.poll() is None:
        assert server.api("GET", "/network/interfaces").status == 200
        seen += 1
    assert process.returncode == 0
    found = shown(server, "v0")
    assert seen > 0
    assert (found["mtu"], "10.99.0.1/24" in found["addresses"]) == (1399, True)
    assert not any(each.startswith("10.1.") for each in found["addresses"])
