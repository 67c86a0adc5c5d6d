"""Addresses of links: reading them, and the requests that add and remove them (rtnetlink(7), if_addr.h)."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)

from appliance.host.network import netlink
from appliance.host.network.netlink import CREATE, EXCLUSIVE, Netlink, Request, attribute, attributes, number_in

AnyAddress = IPv4Address | IPv6Address
AnyInterface = IPv4Interface | IPv6Interface
"""An address with the length of its network's prefix."""

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_ADDRESS, _LOCAL, _BROADCAST, _FLAGS = 1, 2, 4, 8
_SECONDARY, _PERMANENT = 0x01, 0x80
_SCOPE_LINK = 253
_MESSAGE = struct.Struct("=BBBBI")  # family, length of the prefix, flags, scope, index
_LONGEST_BROADCAST = 30  # a network of two addresses or one has none


@dataclass(frozen=True, slots=True)
class Address:
    """One address of the link `index`; `payload` is the kernel's whole message about it.

    In IPv4 the first of a network on a link is what is sent from; the others are `is_secondary`.
    """

    index: int
    address: AnyAddress
    prefix: int
    scope: int
    is_permanent: bool
    is_secondary: bool
    payload: bytes

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The network that it is in."""
        return ip_interface(str(self)).network

    @property
    def is_of_the_link(self) -> bool:
        """Whether the kernel made it itself, for the link alone (fe80::/10)."""
        return self.address.version == 6 and self.scope == _SCOPE_LINK

    @property
    def comes_back_by_itself(self) -> bool:
        """Whether a router's advertisements give it, so that it is neither ours to replace nor to restore."""
        return self.address.version == 6 and not self.is_permanent

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


def read(net: Netlink) -> list[Address]:
    """All addresses of IPv4 and IPv6. Raises what `Netlink.dump` raises."""
    found = net.dump(Request(netlink.GET_ADDRESS, _MESSAGE.pack(0, 0, 0, 0, 0)))
    return [parse(payload) for payload in found if payload[0] in FAMILIES.values()]


def parse(payload: bytes) -> Address:
    """Take a message about an address apart."""
    _, prefix, flags, scope, index = _MESSAGE.unpack_from(payload)
    found = attributes(payload, _MESSAGE.size)
    # Between two points LOCAL is ours and ADDRESS the other's; IPv6 otherwise knows no LOCAL.
    address = ip_address(found.get(_LOCAL) or found[_ADDRESS])
    flags = number_in(found.get(_FLAGS), flags)
    return Address(
        index=index,
        address=address,
        prefix=prefix,
        scope=scope,
        is_permanent=bool(flags & _PERMANENT),
        is_secondary=address.version == 4 and bool(flags & _SECONDARY),
        payload=payload,
    )


def add(index: int, wanted: AnyInterface) -> Request:
    """Give a link an address, and in IPv4 the broadcast address of its network."""
    content = _content(index, wanted)
    if isinstance(wanted, IPv4Interface) and wanted.network.prefixlen <= _LONGEST_BROADCAST:
        content += attribute(_BROADCAST, wanted.network.broadcast_address.packed)
    return Request(netlink.NEW_ADDRESS, content, CREATE | EXCLUSIVE)


def add_again(address: Address) -> Request:
    """Give a link an address that it had, with all its properties."""
    return Request(netlink.NEW_ADDRESS, address.payload, CREATE | EXCLUSIVE)


def remove(index: int, address: AnyInterface) -> Request:
    """Take an address from a link."""
    return Request(netlink.DELETE_ADDRESS, _content(index, address))


def remove_found(address: Address) -> Request:
    """Take an address from the link that has it."""
    return Request(netlink.DELETE_ADDRESS, address.payload)


def _content(index: int, address: AnyInterface) -> bytes:
    packed = address.ip.packed
    message = _MESSAGE.pack(FAMILIES[address.version], address.network.prefixlen, 0, 0, index)
    return message + attribute(_LOCAL, packed) + attribute(_ADDRESS, packed)
