"""An address that an interface shall have, checked as far as it can be without asking the kernel."""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address

from appliance.host.errors import Invalid
from appliance.host.network.addresses import AnyAddress, AnyInterface

_BITS = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An address with the length of its prefix, and the gateway that the default route shall lead to, if any."""

    address: AnyInterface
    gateway: AnyAddress | None = None

    def __str__(self) -> str:
        return str(self.address)


def parse_wanted(address: str, netmask: int | str, gateway: str = "") -> Wanted:
    """Check the parts. `netmask` is the length of the prefix, or a dotted mask (255.255.255.0). Raises `Invalid`."""
    host = parse_address(address, "address")
    length = _prefix_length(netmask, host.version)
    wanted: AnyInterface = (IPv6Interface if host.version == 6 else IPv4Interface)((host.packed, length))
    _refuse_unusable(host, "address")
    if isinstance(wanted, IPv4Interface) and length <= 30:
        network = wanted.network
        if host in (network.network_address, network.broadcast_address):
            raise Invalid("address", f"{host} is no host's address in the network {network}")
    if not gateway:
        return Wanted(wanted)
    router = parse_address(gateway, "gateway")
    _refuse_unusable(router, "gateway")
    if router.version != host.version:
        raise Invalid("gateway", f"expected an IPv{host.version} address, as `address` is one")
    if router == host:
        raise Invalid("gateway", "expected another address than the interface's own")
    return Wanted(wanted, router)


def parse_address(text: str, field: str) -> AnyAddress:
    """An IPv4 or IPv6 address. Raises `Invalid`."""
    try:
        address = ip_address(text)
    except ValueError:
        raise Invalid(field, "expected an IPv4 or IPv6 address") from None
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        raise Invalid(field, "expected an address without a zone, and not one of IPv4 in the form of IPv6")
    return address


def parse_found(text: str, field: str) -> tuple[AnyAddress, int | None]:
    """An address that an interface has, with or without the length of its prefix. Raises `Invalid`."""
    host, slash, length = text.partition("/")
    address = parse_address(host, field)
    return address, _prefix_length(length, address.version, field) if slash else None


def _prefix_length(netmask: int | str, version: int, field: str = "netmask") -> int:
    most = _BITS[version]
    if isinstance(netmask, str):
        netmask = _length_of_mask(netmask, version, field)
    if not 1 <= netmask <= most:
        raise Invalid(field, f"expected the length of a prefix, 1 to {most}")
    return netmask


def _length_of_mask(text: str, version: int, field: str) -> int:
    digits = text.removeprefix("/")
    if digits.isascii() and digits.isdigit() and len(digits) <= 3:
        return int(digits)
    if version == 4:
        try:
            mask = int.from_bytes(ip_address(text).packed, "big")
        except ValueError:
            mask = 1
        zeros = (~mask) & 0xFFFFFFFF
        if text.count(".") == 3 and zeros & (zeros + 1) == 0:
            return 32 - zeros.bit_length()
    raise Invalid(field, "expected the length of a prefix" + (", or a mask as 255.255.255.0" if version == 4 else ""))


def _refuse_unusable(address: AnyAddress, field: str) -> None:
    if address.is_unspecified or address.is_multicast or address.packed == b"\xff" * 4:
        raise Invalid(field, f"{address} is no address of one host")
    if field == "gateway" and address.is_loopback:
        raise Invalid(field, f"{address} is this machine itself")
