"""Routes: those that people and DHCP clients have set, and the default route through a gateway (rtnetlink(7))."""

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from appliance.host.network import netlink
from appliance.host.network.addresses import FAMILIES, AnyAddress
from appliance.host.network.netlink import (
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Netlink,
    Request,
    attribute,
    attributes,
    number,
    number_in,
)

_BOOT, _STATIC, _DHCP = 3, 4, 16
PROTOCOLS = (_BOOT, _STATIC, _DHCP)
"""Who has set the routes that are looked at: ip(8), a person's configuration, a DHCP client.

The others come back by themselves: the kernel's with their address, a routing daemon's (they may be a million) by it.
"""

METRICS = {4: 0, 6: 512}
"""Metric of our default routes: ahead of what DHCP clients and router advertisements (1024) bring."""

_MAIN_TABLE = 254
_UNICAST = 1
_DESTINATION, _INTERFACE, _GATEWAY, _METRIC, _SOURCE, _HOPS, _CACHE, _TABLE, _VIA = 1, 4, 5, 6, 7, 9, 12, 15, 18
_HOP_OBJECT = 30
_ONLINK = 0x4
_CLONED = 0x200
_MESSAGE = struct.Struct("=BBBBBBBBI")
_HOP = struct.Struct("=HBBi")  # length, flags, weight, index


@dataclass(frozen=True, slots=True)
class Route:
    """One route of IPv4 or IPv6 (`version`); `through` are the indexes of its links, `payload` what makes it again.

    `source` is the address of ours that what takes it is sent from, packed; empty where the route does not say.
    """

    version: int
    is_default: bool
    table: int
    metric: int
    gateway: bytes
    source: bytes
    needs_others: bool
    through: frozenset[int]
    payload: bytes


def read(net: Netlink) -> list[Route]:
    """The routes of the `PROTOCOLS`, in an order in which they can be made. Raises what `Netlink.dump` raises."""
    found = [
        parse(payload)
        for family in FAMILIES.values()
        for protocol in PROTOCOLS
        for payload in net.dump(_dump(family, protocol))
        if _is_set(payload, protocol)  # kernels before 4.20 do not choose
    ]
    return sorted(found, key=lambda route: route.needs_others)


def parse(payload: bytes) -> Route:
    """Take a message about a route apart."""
    family, length, source, service, table, protocol, scope, kind, flags = _MESSAGE.unpack_from(payload)
    found = attributes(payload, _MESSAGE.size)
    hops = list(_hops(found.get(_HOPS, b"")))
    through = {number_in(found[_INTERFACE])} if _INTERFACE in found else set()
    # What tells how a route is at the moment may not be said when it is made.
    kept = {attribute_kind: value for attribute_kind, value in found.items() if attribute_kind != _CACHE}
    if hops:
        kept[_HOPS] = b"".join(_HOP.pack(len(hop), hop[2] & _ONLINK, hop[3], index) + hop[8:] for hop, index in hops)
    head = _MESSAGE.pack(family, length, source, service, table, protocol, scope, kind, flags & _ONLINK)
    return Route(
        version=next(version for version, number in FAMILIES.items() if number == family),
        is_default=length == 0 and kind == _UNICAST,
        table=number_in(found.get(_TABLE), table),
        metric=number_in(found.get(_METRIC)),
        gateway=found.get(_GATEWAY, b""),
        source=found.get(_SOURCE, b""),
        needs_others=any(each in found for each in (_GATEWAY, _VIA, _HOPS)),
        through=frozenset(through | {index for _, index in hops}),
        payload=head + b"".join(attribute(attribute_kind, value) for attribute_kind, value in kept.items()),
    )


def of_links(routes: Iterable[Route], indexes: Collection[int], addresses: Iterable[AnyAddress]) -> list[Route]:
    """Those that go with the links or with the addresses of these: through one of them, or from one of the addresses.

    The kernel removes an IPv4 route, whatever its link, with the address that it is sent from.
    """
    sources = {address.packed for address in addresses}
    return [route for route in routes if not route.through.isdisjoint(indexes) or route.source in sources]


def rivals(routes: Iterable[Route], version: int) -> list[Route]:
    """The default routes that stand where one of ours would."""
    metric = METRICS[version]
    return [
        route
        for route in routes
        if (route.version, route.is_default, route.table, route.metric) == (version, True, _MAIN_TABLE, metric)
    ]


def add_default(index: int, gateway: AnyAddress, *, replace: bool) -> Request:
    """Make the default route lead to `gateway`; with `replace` in the place of one that stands there."""
    return Request(netlink.NEW_ROUTE, _default(index, gateway), CREATE | (REPLACE if replace else EXCLUSIVE))


def remove_default(index: int, gateway: AnyAddress) -> Request:
    """Remove that route."""
    return Request(netlink.DELETE_ROUTE, _default(index, gateway))


def add_again(route: Route) -> Request:
    """Make a route that was there."""
    return Request(netlink.NEW_ROUTE, route.payload, CREATE | EXCLUSIVE)


def way_to(net: Netlink, address: AnyAddress) -> tuple[int, bytes]:
    """The index of the link by which packets to `address` leave, and the router they go to, packed; empty for none.

    Raises `KernelRefusal` where there is no way.
    """
    packed = address.packed
    head = _MESSAGE.pack(FAMILIES[address.version], 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    answer = net.get(Request(netlink.GET_ROUTE, head + attribute(_DESTINATION, packed)))
    found = attributes(answer, _MESSAGE.size)
    return number_in(found.get(_INTERFACE)), found.get(_GATEWAY, b"")


def _default(index: int, gateway: AnyAddress) -> bytes:
    head = _MESSAGE.pack(FAMILIES[gateway.version], 0, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNICAST, 0)
    metric = METRICS[gateway.version]
    priority = number(_METRIC, metric) if metric else b""
    return head + number(_INTERFACE, index) + attribute(_GATEWAY, gateway.packed) + priority


def _dump(family: int, protocol: int) -> Request:
    return Request(netlink.GET_ROUTE, _MESSAGE.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))


def _is_set(payload: bytes, protocol: int) -> bool:
    """Whether it is a route of `protocol` that can be made again: not one of the cache, or of a next hop object."""
    message = _MESSAGE.unpack_from(payload)
    of_object = _HOP_OBJECT in attributes(payload, _MESSAGE.size)
    return message[5] == protocol and not message[8] & _CLONED and not of_object


def _hops(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The next hops of a route that has several, with the index of their link."""
    offset = 0
    while offset + _HOP.size <= len(data):
        length, _, _, index = _HOP.unpack_from(data, offset)
        if length < _HOP.size:
            return
        yield data[offset : offset + length], index
        offset += (length + 3) & ~3
