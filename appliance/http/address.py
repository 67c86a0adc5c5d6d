"""Who a connection comes from, and for whom it says it is: client addresses behind proxies, and the Host header."""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.web.http_headers import Headers

_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}(?:%%25[A-Za-z0-9_.~-]{1,32})?\]|(?=[^:]{1,253}(?::|$))%b(?:\.%b)*\.?)(?::[0-9]{1,5})?"
    % (_LABEL, _LABEL)
)


def host_is_valid(headers: Headers, http_1_1: bool) -> bool:
    """Check the Host header: one in HTTP/1.1, a name or address with an optional port (RFC 9112 section 3.2)."""
    values = headers.getRawHeaders(b"Host")
    if not values:
        return not http_1_1
    return len(values) == 1 and _HOST.fullmatch(values[0]) is not None


class TrustedProxies:
    """Finds the client's address where proxies stand before us; `trusts` tells whether an address is one of them."""

    def __init__(self, trusts: Callable[[str], bool]) -> None:
        self._trusts = trusts

    def client(self, peer: str, headers: Headers) -> str:
        """Return the nearest address in `X-Forwarded-For`, read from its end, that is no trusted proxy itself.

        The header counts only where `peer` is a trusted proxy, and only as far as its entries are addresses.
        """
        forwarded = headers.getRawHeaders(b"X-Forwarded-For")
        if forwarded is None or not self._trusts(peer):
            return peer
        client = peer
        for entry in reversed(b",".join(forwarded).decode("latin-1").split(",")):
            candidate = entry.strip()
            if _parse(candidate) is None:
                break
            client = candidate
            if not self._trusts(candidate):
                break
        return client


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def address_group(address: str) -> str:
    """Return what limits count by: an IPv4 address, or the /64 of an IPv6 one (a customer holds at least that)."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed) if parsed is not None else address
