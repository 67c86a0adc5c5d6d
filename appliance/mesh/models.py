"""What requests to the mesh may hold, with their limits; names as the mesh contract has them."""

import re
from ipaddress import IPv6Address, ip_address
from typing import Annotated

import msgspec

from appliance.mesh.errors import Invalid
from appliance.mesh.names import GROUP, GROUP_OR_NONE, HOSTNAME, NAME

ID_LIMIT = (1 << 31) - 1
ID = f"int(max={ID_LIMIT})"
"""The converter of ids in paths: what is larger than any id is no path of ours."""

Hostname = Annotated[str, msgspec.Meta(pattern=HOSTNAME, max_length=253, description="A node's name.")]
NetworkName = Annotated[
    str, msgspec.Meta(pattern=NAME, max_length=253, description="No `/`, quotes or control characters.")
]
GroupName = Annotated[str, msgspec.Meta(pattern=GROUP, max_length=253)]
OptionalGroup = Annotated[
    str, msgspec.Meta(pattern=GROUP_OR_NONE, max_length=253, description="A group; empty for none.")
]
Id = Annotated[int, msgspec.Meta(ge=1, le=ID_LIMIT)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36500)]
AddressText = Annotated[str, msgspec.Meta(max_length=64)]
EndpointText = Annotated[
    str, msgspec.Meta(max_length=300, description="HOST:PORT at which other hosts reach it; empty for none.")
]
Subnet = Annotated[str, msgspec.Meta(max_length=64, description="As 10.0.0.0/24.")]
Short = Annotated[str, msgspec.Meta(max_length=1024, pattern=r"^[^\x00]*$(?!\n)")]

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def check_endpoint(text: str | None) -> str | None:
    """`text` as HOST:PORT, with IPv6 in brackets; empty and None as they are. Raises `Invalid`."""
    if not text:
        return text
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    good = bool(colon) and port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not good or not (is_host(host) if not bracketed else _is_ipv6(host[1:-1])):
        raise Invalid("public_endpoint", "HOST:PORT is wanted, as vpn.example.com:4242 or [2001:db8::1]:4242")
    return text


def is_host(text: str) -> bool:
    """Whether `text` is a host name (RFC 1123 section 2.1) or an IPv4 address."""
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not labels[-1].isdigit() or is_address(text)


def is_address(text: str) -> bool:
    """Whether `text` is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    return is_address(text) and isinstance(ip_address(text), IPv6Address)
