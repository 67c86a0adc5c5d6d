"""Network addresses as people write them in settings and as proxies send them."""

import ipaddress
from typing import Self

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Address:
    """An IP address and a TCP port to listen on. Port 0 lets the system choose one."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        """`host` is an IPv4 or IPv6 address without brackets; raises `ValueError` for anything else."""
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is not between 0 and 65535")
        self.host = str(ipaddress.ip_address(host))
        self.port = port

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `192.0.2.1:8443`, `[2001:db8::1]:8443` or `localhost:8443`; raises `ValueError`."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5:
            raise ValueError(f"{text!r} is not ADDRESS:PORT")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if ":" not in host:
                raise ValueError(f"{text!r} has brackets around something that is not an IPv6 address")
        elif ":" in host:
            raise ValueError(f"{text!r} needs brackets around its IPv6 address")
        elif host == "localhost":
            host = "127.0.0.1"
        try:
            return cls(host, int(port))
        except ValueError as error:
            raise ValueError(f"{text!r} is not ADDRESS:PORT: {error}") from None

    @property
    def is_ipv6(self) -> bool:
        """Whether `host` is an IPv6 address."""
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return unmapped(ipaddress.ip_address(self.host)).is_loopback

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


class Network:
    """A range of IP addresses (`10.0.0.0/8`) or a single one; `address in network` tells membership."""

    __slots__ = ("range",)

    def __init__(self, text: str) -> None:
        """Raises `ValueError` for anything but an address or a range without host bits."""
        self.range = ipaddress.ip_network(text.strip())

    def __contains__(self, address: str) -> bool:
        """Text that is no address is in no network; IPv4 inside IPv6 (`::ffff:10.0.0.1`) counts as IPv4."""
        try:
            return unmapped(ipaddress.ip_address(address)) in self.range
        except ValueError:
            return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return self.range == other.range

    def __hash__(self) -> int:
        return hash(self.range)

    def __str__(self) -> str:
        return str(self.range)

    def __repr__(self) -> str:
        return f"Network({str(self)!r})"


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped IPv6 one (RFC 4291, 2.5.5.2), any other address as it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
