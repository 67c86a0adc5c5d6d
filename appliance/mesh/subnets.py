"""The addresses of a network, by arithmetic: a subnet may have more of them than could ever be listed."""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from appliance.mesh.errors import Invalid, Unacceptable

Subnet = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

LARGEST_IPV4, SMALLEST_IPV4 = 8, 30
SMALLEST_IPV6 = 126
HOST_NUMBER_LIMIT = 1 << 62
"""Host numbers are kept as signed 64 bits; an IPv6 subnet has more."""


def parse_subnet(text: str, certificate_version: int) -> Subnet:
    """The subnet that `text` means. Raises `Invalid`: it must be a network's address, of a size that can be served."""
    if "/" not in text:
        raise Invalid("subnet_cidr", "an address and a prefix length are wanted, as 10.0.0.0/24")
    try:
        subnet = ip_network(text)
    except ValueError as error:
        raise Invalid("subnet_cidr", str(error)) from None
    if isinstance(subnet, IPv6Network):
        if certificate_version < 2:
            raise Invalid("subnet_cidr", "IPv6 needs certificates of version 2")
        if subnet.prefixlen > SMALLEST_IPV6:
            raise Invalid("subnet_cidr", f"the prefix must be at most /{SMALLEST_IPV6}")
    elif not LARGEST_IPV4 <= subnet.prefixlen <= SMALLEST_IPV4:
        raise Invalid("subnet_cidr", f"the prefix must be between /{LARGEST_IPV4} and /{SMALLEST_IPV4}")
    return subnet


def last_host_number(subnet: Subnet) -> int:
    """The largest number of a host: the broadcast address is none, and IPv6 has none such."""
    last = subnet.num_addresses - (2 if subnet.version == 4 else 1)
    return min(last, HOST_NUMBER_LIMIT)


def address_of(subnet: Subnet, host_number: int) -> Address:
    """The address of a host."""
    return subnet.network_address + host_number


def interface_of(subnet: Subnet, address: str) -> IPv4Interface | IPv6Interface:
    """An address with the subnet's prefix length, as a certificate names it."""
    return ip_interface(f"{address}/{subnet.prefixlen}")


def host_number_of(subnet: Subnet, text: str) -> int:
    """The number of the host with that address. Raises `Unacceptable` where no host can have it."""
    try:
        address = ip_address(text)
    except ValueError:
        raise Unacceptable(f"{text[:64]} is not an IP address") from None
    if address not in subnet:
        raise Unacceptable(f"{address} is not in {subnet}")
    number = int(address) - int(subnet.network_address)
    if not 1 <= number <= last_host_number(subnet):
        raise Unacceptable(f"{address} is not the address of a host in {subnet}")
    return number


def first_overlap(subnet: Subnet, others: Iterable[str]) -> str | None:
    """The first of `others` that shares addresses with `subnet`."""
    for text in others:
        other = ip_network(text)
        if subnet.version == other.version and subnet.overlaps(other):
            return text
    return None
