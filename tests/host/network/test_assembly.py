"""How interfaces are put together, and what hangs on what."""

from ipaddress import ip_address
from typing import Any, cast

import msgspec
import pytest

from appliance.host.errors import Conflict, Unknown
from appliance.host.network.addresses import Address
from appliance.host.network.assembly import interfaces_of
from appliance.host.network.carriers import Carriers, Origin, carriers
from appliance.host.network.links import LOOPBACK, Link
from appliance.host.network.netlink import KernelRefusal, Netlink
from appliance.host.network.state import State

ETHERNET = 1


def link(index: int, name: str, kind: str = "", **fields: Any) -> Link:
    parts: dict[str, Any] = {
        "index": index,
        "name": name,
        "hardware": ETHERNET,
        "flags": 1,
        "operational": 6,
        "kind": kind,
        "parent": 0,
        "master": 0,
        "counters": (1, 2, 3, 4, 5, 6, 7, 8),
        "all": {1: bytes.fromhex("020000000001"), 4: (1500).to_bytes(4, "little")},
        "data": b"",
        "port_data": b"",
    }
    return Link(**{**parts, **fields})


def address(index: int, text: str) -> Address:
    return Address(index, ip_address(text), 24, 0, True, False, b"")


STATE = State(
    [
        link(1, "lo", hardware=LOOPBACK, operational=0, all={}),
        link(2, "eth0"),
        link(3, "eth1", master=5, flags=0),
        link(4, "eth2", master=5),
        link(5, "br0", "bridge"),
        link(6, "br0.7", "vlan", parent=5, data=b"\x06\0\1\0\7\0\0\0"),
        link(7, "bond0", "bond"),
        link(8, "eth3", master=7),
        link(9, "tun0", "tun", operational=99, all={1: bytes(4)}),
    ],
    [address(2, "192.0.2.1"), address(6, "198.51.100.1"), address(1, "127.0.0.1")],
)


def test_interfaces() -> None:
    found = {each.name: each for each in interfaces_of(STATE)}
    assert [found[name].type for name in ("lo", "eth0", "br0", "br0.7", "bond0", "tun0")] == [
        "loopback",
        "ethernet",
        "bridge",
        "vlan",
        "bond",
        "tun",
    ]
    assert (found["eth0"].mac, found["eth0"].mtu, found["eth0"].addresses) == (
        "02:00:00:00:00:01",
        1500,
        ["192.0.2.1/24"],
    )
    assert (found["lo"].mac, found["tun0"].mac) == ("", "")
    assert (found["eth1"].state, found["eth1"].master, found["eth2"].state) == ("down", "br0", "up")
    assert [found[name].operational_state for name in ("eth0", "lo", "tun0")] == ["up", "unknown", "unknown"]
    assert (found["br0"].interfaces, found["bond0"].interfaces) == (["eth1", "eth2"], ["eth3"])
    assert (found["br0.7"].interface, found["br0.7"].vlan_id) == ("br0", 7)
    shown = msgspec.to_builtins(found["eth0"])
    assert not {"interfaces", "interface", "vlan_id"} & set(shown)
    assert shown["statistics"] == {
        "rx_packets": 1,
        "tx_packets": 2,
        "rx_bytes": 3,
        "tx_bytes": 4,
        "rx_errors": 5,
        "tx_errors": 6,
        "rx_dropped": 7,
        "tx_dropped": 8,
    }


def test_what_hangs_on_what() -> None:
    assert STATE.link("br0").index == 5
    with pytest.raises(Unknown, match="eth9"):
        STATE.link("eth9")
    assert [each.name for each in STATE.lying_on(5)] == ["br0.7"]
    assert [each.name for each in STATE.with_all_above(5)] == ["br0", "br0.7"]
    assert STATE.with_all_below([6]) == {6, 5, 3, 4}
    pair = State([link(2, "v0", "veth", parent=3), link(3, "v1", "veth", parent=2)], [])
    assert pair.lying_on(2) == []
    assert pair.with_all_below([2]) == {2, 3}  # what is down takes the other end with it


class Kernel:
    """Answers where packets to an address go."""

    def __init__(self, way: bytes | None) -> None:
        self._way = way

    def get(self, request: object) -> bytes:
        if self._way is None:
            raise KernelRefusal(101)
        return bytes(12) + self._way


def found(ours: str, client: str = "", way: bytes | None = None) -> Carriers:
    net = cast(Netlink, Kernel(way))
    return carriers(net, STATE, Origin(ours, client), force=False)


def test_who_carries_a_request() -> None:
    assert found("192.0.2.1").links == {2}
    assert found("::ffff:192.0.2.1").links == {2}
    assert found("198.51.100.1").links == {6, 5, 3, 4}
    assert found("fe80::1%eth0").links == {2}
    assert found("").links == set()
    # Behind a proxy on this machine the client's own way counts too; here it leads through bond0, to a router.
    way = b"\x08\0\4\0\7\0\0\0" + b"\x08\0\5\0\xc0\0\2\xfe"
    by_proxy = found("127.0.0.1", "203.0.113.9", way)
    assert by_proxy.links == {1, 7, 8}
    by_proxy.spare_gateway(bytes(4))
    with pytest.raises(Conflict, match="default route"):
        by_proxy.spare_gateway(b"\xc0\0\2\xfe")
    assert found("127.0.0.1", "203.0.113.9").links == {1}


def test_what_carries_is_spared() -> None:
    spared = found("192.0.2.1")
    spared.spare(5, "br0")
    spared.spare_address(ip_address("192.0.2.2"))
    with pytest.raises(Conflict, match="eth0"):
        spared.spare(2, "eth0")
    with pytest.raises(Conflict, match=r"192\.0\.2\.1"):
        spared.spare_address(ip_address("192.0.2.1"))
    forced = carriers(cast(Netlink, Kernel(None)), STATE, Origin("192.0.2.1"), force=True)
    forced.spare(2, "eth0")
    forced.spare_address(ip_address("192.0.2.1"))
