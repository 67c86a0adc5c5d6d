"""Links, as the kernel calls interfaces: reading them, and the requests that change them (rtnetlink(7), if_link.h)."""

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.host.network import netlink
from appliance.host.network.netlink import CREATE, EXCLUSIVE, Netlink, Request, attributes, nested, number, number_in

UP = 0x1
"""The flag of a link that was brought up (IFF_UP)."""
LOOPBACK = 772  # ARPHRD_LOOPBACK, if_arp.h

ADDRESS, NAME, MTU, PARENT, MASTER, QUEUE_LENGTH = 1, 3, 4, 5, 10, 13
_OPERATIONAL, _INFORMATION, ALIAS, _STATISTICS, GROUP, _PARENT_ELSEWHERE = 16, 18, 20, 23, 27, 37
_KIND, _DATA, _PORT_KIND, _PORT_DATA = 1, 2, 4, 5
_VLAN_ID, _VLAN_FLAGS = 1, 2
_VLAN_REORDER = 0x1
_BRIDGE_VLAN_FILTERING = 7
_BRIDGE_SWITCHES = 46

# What the kernel takes back of what a bridge and its ports tell of themselves (br_policy and br_port_policy in
# net/bridge/br_netlink.c). The rest is their state: a port's own, 1, is for the spanning tree to find. A bridge that
# filters VLANs is never made again, and a kernel that cannot refuses even not to.
_BRIDGE_SETTINGS = frozenset({*range(1, 7), 8, 9, 20, *range(22, 26), *range(27, 40), *range(41, 47), 49})
_PORT_SETTINGS = frozenset({*range(2, 13), 25, *range(27, 35), 37, 39, 40, 42, 43, 44})

_MESSAGE = struct.Struct("=BxHiII")  # family, hardware type, index, flags, mask of the flags to change
_COUNTERS = struct.Struct("=8Q")
_NONE = (0,) * 8


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `kind` is the kernel's name of its driver, "" for hardware; `parent` and `master` are indexes or 0.

    `parent` is what a VLAN lies on, `master` the bridge or bond that a port belongs to. `data` and `port_data` hold the
    attributes of a link's own kind, and of it as a port. `counters` are packets, bytes, errors and dropped packets,
    received and sent.
    """

    index: int
    name: str
    hardware: int
    flags: int
    operational: int
    kind: str
    parent: int
    master: int
    counters: tuple[int, ...]
    all: Mapping[int, bytes]
    data: bytes
    port_data: bytes

    @property
    def is_up(self) -> bool:
        """Whether it was brought up, with or without a carrier."""
        return bool(self.flags & UP)

    @property
    def mac(self) -> bytes:
        """Its hardware address; empty where it has none."""
        return self.all.get(ADDRESS, b"")

    @property
    def mtu(self) -> int:
        """Bytes of the largest packet."""
        return number_in(self.all.get(MTU))

    @property
    def vlan_id(self) -> int:
        """The tag of a VLAN."""
        return number_in(attributes(self.data).get(_VLAN_ID))

    @property
    def filters_vlans(self) -> bool:
        """Whether it is a bridge with tables of VLANs."""
        return self.kind == "bridge" and number_in(attributes(self.data).get(_BRIDGE_VLAN_FILTERING)) != 0


def read(net: Netlink) -> list[Link]:
    """All links, in the order of their making. Raises what `Netlink.dump` raises."""
    return [parse(payload) for payload in net.dump(Request(netlink.GET_LINK, _MESSAGE.pack(0, 0, 0, 0, 0)))]


def read_one(net: Netlink, name: str) -> Link:
    """The link of that name. Raises what `Netlink.get` raises."""
    return parse(net.get(Request(netlink.GET_LINK, _MESSAGE.pack(0, 0, 0, 0, 0) + netlink.text(NAME, name))))


def parse(payload: bytes) -> Link:
    """Take a message about a link apart."""
    _, hardware, index, flags, _ = _MESSAGE.unpack_from(payload)
    found = attributes(payload, _MESSAGE.size)
    information = attributes(found.get(_INFORMATION, b""))
    counters = found.get(_STATISTICS, b"")
    return Link(
        index=index,
        name=found.get(NAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        hardware=hardware,
        flags=flags,
        operational=number_in(found.get(_OPERATIONAL)),
        kind=information.get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace"),
        parent=0 if _PARENT_ELSEWHERE in found else number_in(found.get(PARENT)),
        master=number_in(found.get(MASTER)),
        counters=_COUNTERS.unpack_from(counters) if len(counters) >= _COUNTERS.size else _NONE,
        all=found,
        data=information.get(_DATA, b""),
        port_data=information.get(_PORT_DATA, b""),
    )


def set_up(index: int, *, up: bool) -> Request:
    """Bring a link up or down."""
    return _set(index, flags=UP if up else 0, mask=UP)


def set_master(index: int, master: int) -> Request:
    """Make a link a port of `master`; of none, with 0."""
    return _set(index, number(MASTER, master))


def set_property(link: Link, kind: int) -> Request:
    """Give a link a property (`MTU`, `ALIAS`) that it had."""
    return _set(link.index, netlink.attribute(kind, link.all[kind]))


def set_port_data(port: Link) -> Request:
    """Give a bridge's port the settings that it had."""
    kept = [
        netlink.attribute(kind, value) for kind, value in attributes(port.port_data).items() if kind in _PORT_SETTINGS
    ]
    kind = netlink.text(_PORT_KIND, "bridge")
    return _set(port.index, nested(_INFORMATION, kind, nested(_PORT_DATA, *kept)))


def new_bridge(name: str) -> Request:
    """Make a bridge without ports."""
    return _new(netlink.text(NAME, name), nested(_INFORMATION, netlink.text(_KIND, "bridge")))


def new_vlan(name: str, parent: int, vlan_id: int) -> Request:
    """Make a VLAN (802.1Q) on a link."""
    data = nested(_DATA, netlink.attribute(_VLAN_ID, struct.pack("=H", vlan_id)))
    information = nested(_INFORMATION, netlink.text(_KIND, "vlan"), data)
    return _new(netlink.text(NAME, name), number(PARENT, parent), information)


def new_as(link: Link, *, with_settings: bool = True) -> Request:
    """Make a link again as it was, under its old index, which addresses and routes know it by; it is down.

    A kernel that has fewer settings than it tells of refuses: `with_settings` false leaves them out.
    """
    kept = [netlink.attribute(kind, link.all[kind]) for kind in (ADDRESS, MTU, QUEUE_LENGTH, GROUP) if kind in link.all]
    parent = number(PARENT, link.parent) if link.parent else b""
    data = nested(_DATA, *(_settings(link) if with_settings else ()))
    information = nested(_INFORMATION, netlink.text(_KIND, link.kind), data)
    return _new(netlink.text(NAME, link.name), *kept, parent, information, index=link.index)


def delete(index: int) -> Request:
    """Remove a link."""
    return Request(netlink.DELETE_LINK, _MESSAGE.pack(0, 0, index, 0, 0))


def delete_by_name(name: str) -> Request:
    """Remove a link of which only the name is known."""
    return Request(netlink.DELETE_LINK, _MESSAGE.pack(0, 0, 0, 0, 0) + netlink.text(NAME, name))


def _set(index: int, content: bytes = b"", *, flags: int = 0, mask: int = 0) -> Request:
    # NEW_LINK without CREATE: SET_LINK does the same, but passes over the properties of ports.
    return Request(netlink.NEW_LINK, _MESSAGE.pack(socket.AF_UNSPEC, 0, index, flags, mask) + content)


def _new(*content: bytes, index: int = 0) -> Request:
    return Request(netlink.NEW_LINK, _MESSAGE.pack(0, 0, index, 0, 0) + b"".join(content), CREATE | EXCLUSIVE)


def _settings(link: Link) -> Iterator[bytes]:
    for kind, value in attributes(link.data).items():
        if link.kind == "bridge":
            if kind == _BRIDGE_SWITCHES:
                value = _only_those_on(value)
            elif kind not in _BRIDGE_SETTINGS:
                continue
        elif link.kind == "vlan" and kind == _VLAN_FLAGS:
            value = _only_those_on(value, besides=_VLAN_REORDER)
        yield netlink.attribute(kind, value)


def _only_those_on(value: bytes, besides: int = 0) -> bytes:
    """Flags, and a mask of those that are meant: the kernel tells one of all 32, and refuses those it does not know.

    What is off is so from the beginning, but for `besides`.
    """
    (flags,) = struct.unpack_from("=I", value)
    return struct.pack("=II", flags, flags | besides)
