"""Our messages against pyroute2, which knows the kernel's formats from elsewhere."""

import socket
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from appliance.host.network import addresses, links, routes
from appliance.host.network.netlink import Request

_HEADER = 16


def decoded(request: Request, kind: type) -> Any:
    """What pyroute2 reads in a request."""
    head = (_HEADER + len(request.payload)).to_bytes(4, "little") + request.kind.to_bytes(2, "little")
    message = kind(head + request.flags.to_bytes(2, "little") + bytes(8) + request.payload)
    message.decode()
    return message


def encoded(message: Any, **fields: Any) -> bytes:
    """The fixed part and attributes of a message that pyroute2 writes."""
    attributes = fields.pop("attrs")
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data[_HEADER:])


def test_a_vlan_is_asked_for() -> None:
    found = decoded(links.new_vlan("lan.7", 3, 7), ifinfmsg)
    assert found.get_attr("IFLA_IFNAME") == "lan.7"
    assert found.get_attr("IFLA_LINK") == 3
    information = found.get_attr("IFLA_LINKINFO")
    assert information.get_attr("IFLA_INFO_KIND") == "vlan"
    assert information.get_attr("IFLA_INFO_DATA").get_attr("IFLA_VLAN_ID") == 7
    assert found["header"]["flags"] == 0x600  # make it, and it must not be there


def test_a_vlan_is_read() -> None:
    data = {"attrs": [("IFLA_VLAN_ID", 7), ("IFLA_VLAN_FLAGS", {"flags": 0x4, "mask": 0xFFFFFFFF})]}
    payload = encoded(
        ifinfmsg(),
        index=9,
        ifi_type=1,
        flags=0x1043,
        attrs=[
            ("IFLA_IFNAME", "lan.7"),
            ("IFLA_LINK", 3),
            ("IFLA_MTU", 1496),
            ("IFLA_ADDRESS", "02:00:00:00:00:07"),
            ("IFLA_OPERSTATE", "UP"),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", data)]}),
        ],
    )
    link = links.parse(payload)
    assert (link.index, link.name, link.kind, link.parent, link.vlan_id, link.mtu) == (9, "lan.7", "vlan", 3, 7, 1496)
    assert (link.mac, link.is_up, link.master) == (bytes.fromhex("020000000007"), True, 0)
    again = decoded(links.new_as(link), ifinfmsg)
    assert again["index"] == 9
    assert (again.get_attr("IFLA_LINK"), again.get_attr("IFLA_ADDRESS")) == (3, "02:00:00:00:00:07")
    settings = again.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert settings.get_attr("IFLA_VLAN_ID") == 7
    # The kernel refuses a mask of flags that it does not know; to reorder headers is what it does unless told.
    assert settings.get_attr("IFLA_VLAN_FLAGS") == {"flags": 0x4, "mask": 0x5}


def test_a_parent_elsewhere_is_not_one_of_ours() -> None:
    attributes = [("IFLA_IFNAME", "v0"), ("IFLA_LINK", 3), ("IFLA_LINK_NETNSID", 0)]
    assert links.parse(encoded(ifinfmsg(), index=9, attrs=attributes)).parent == 0


@pytest.mark.parametrize(("filtering", "seen"), [(0, False), (1, True)])
def test_a_bridge_that_filters_vlans(filtering: int, seen: bool) -> None:
    data = {"attrs": [("IFLA_BR_VLAN_FILTERING", filtering)]}
    information = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
    link = links.parse(encoded(ifinfmsg(), index=9, attrs=[("IFLA_IFNAME", "br0"), ("IFLA_LINKINFO", information)]))
    assert link.filters_vlans is seen


def test_links_are_changed() -> None:
    for up in (True, False):
        found = decoded(links.set_up(5, up=up), ifinfmsg)
        assert (found["index"], found["flags"], found["change"]) == (5, int(up), 1)
        assert found["header"]["flags"] == 0
    assert decoded(links.set_master(5, 6), ifinfmsg).get_attr("IFLA_MASTER") == 6
    assert decoded(links.delete(5), ifinfmsg)["index"] == 5
    assert decoded(links.delete_by_name("br0"), ifinfmsg).get_attr("IFLA_IFNAME") == "br0"
    bridge = decoded(links.new_bridge("br0"), ifinfmsg)
    assert bridge.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"


@pytest.mark.parametrize(
    ("address", "family", "broadcast"),
    [
        ("192.168.1.100/24", socket.AF_INET, "192.168.1.255"),
        ("192.168.1.100/31", socket.AF_INET, None),
        ("fd00::1/64", socket.AF_INET6, None),
    ],
)
def test_an_address_is_asked_for(address: str, family: int, broadcast: str | None) -> None:
    wanted = ip_interface(address)
    found = decoded(addresses.add(4, wanted), ifaddrmsg)
    assert (found["family"], found["index"], found["prefixlen"]) == (family, 4, wanted.network.prefixlen)
    assert found.get_attr("IFA_LOCAL") == found.get_attr("IFA_ADDRESS") == str(wanted.ip)
    assert found.get_attr("IFA_BROADCAST") == broadcast
    assert decoded(addresses.remove(4, wanted), ifaddrmsg).get_attr("IFA_LOCAL") == str(wanted.ip)


def test_addresses_are_read() -> None:
    point_to_point = addresses.parse(
        encoded(
            ifaddrmsg(),
            family=socket.AF_INET,
            index=4,
            prefixlen=32,
            attrs=[("IFA_ADDRESS", "10.0.0.9"), ("IFA_LOCAL", "10.0.0.1"), ("IFA_FLAGS", 0x80)],
        )
    )
    assert (str(point_to_point), point_to_point.is_permanent) == ("10.0.0.1/32", True)
    second = encoded(
        ifaddrmsg(), family=socket.AF_INET, index=4, prefixlen=24, flags=0x81, attrs=[("IFA_LOCAL", "10.0.0.2")]
    )
    assert addresses.parse(second).is_secondary
    advertised = addresses.parse(
        encoded(
            ifaddrmsg(),
            family=socket.AF_INET6,
            index=4,
            prefixlen=64,
            attrs=[("IFA_ADDRESS", "2001:db8::7"), ("IFA_FLAGS", 0x101)],
        )
    )
    assert advertised.comes_back_by_itself
    assert not advertised.is_secondary
    assert not advertised.is_of_the_link
    own = encoded(
        ifaddrmsg(),
        family=socket.AF_INET6,
        index=4,
        prefixlen=64,
        scope=253,
        flags=0x80,
        attrs=[("IFA_ADDRESS", "fe80::1")],
    )
    assert addresses.parse(own).is_of_the_link


@pytest.mark.parametrize(("gateway", "metric"), [("192.168.1.1", None), ("fe80::1", 512)])
def test_the_default_route_is_asked_for(gateway: str, metric: int | None) -> None:
    for replace, flags in ((False, 0x600), (True, 0x500)):
        request = routes.add_default(4, ip_address(gateway), replace=replace)
        found = decoded(request, rtmsg)
        assert (found["dst_len"], found["table"], found["proto"], found["type"]) == (0, 254, 4, 1)
        assert (found.get_attr("RTA_GATEWAY"), found.get_attr("RTA_OIF")) == (gateway, 4)
        assert found.get_attr("RTA_PRIORITY") == metric
        assert found["header"]["flags"] == flags


def test_a_route_is_made_again_without_what_is_only_so_at_the_moment() -> None:
    payload = encoded(
        rtmsg(),
        family=socket.AF_INET,
        dst_len=16,
        table=254,
        proto=4,
        type=1,
        flags=0x10 | 0x4,  # no carrier; the gateway counts as reachable
        attrs=[("RTA_DST", "10.66.0.0"), ("RTA_OIF", 4), ("RTA_GATEWAY", "10.1.0.1"), ("RTA_PRIORITY", 7)],
    )
    route = routes.parse(payload)
    assert (route.is_default, route.metric, set(route.through), route.needs_others) == (False, 7, {4}, True)
    again = decoded(routes.add_again(route), rtmsg)
    assert again["flags"] == 0x4
    assert (again.get_attr("RTA_DST"), again.get_attr("RTA_GATEWAY")) == ("10.66.0.0", "10.1.0.1")
