"""Which interfaces carry a request: who takes one of those away may lock himself out."""

import contextlib
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from appliance.host.errors import Conflict
from appliance.host.network import routes
from appliance.host.network.addresses import AnyAddress
from appliance.host.network.netlink import KernelRefusal, Netlink
from appliance.host.network.state import State


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from: the address of ours that it came in at, and the client's ("" where unknown).

    The client's is that behind a trusted proxy: then the connection is the proxy's, often of this machine to itself.
    """

    ours: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Carriers:
    """The interfaces (indexes), the address of ours and the router (packed, or empty) that carry a request."""

    links: frozenset[int]
    address: AnyAddress | None
    gateway: bytes
    force: bool

    def spare(self, index: int, name: str) -> None:
        """Raises `Conflict` where the interface carries the request, unless that is wanted (`force`)."""
        if index in self.links and not self.force:
            raise Conflict(f"{name} carries, or may carry, this very request; force=true does it all the same")

    def spare_address(self, address: AnyAddress) -> None:
        """Raises `Conflict` where the request came in at `address`, unless that is wanted."""
        if address == self.address and not self.force:
            raise Conflict(f"This very request came in at {address}; force=true does it all the same")

    def spare_gateway(self, gateway: bytes) -> None:
        """Raises `Conflict` where answers go by this router, unless that is wanted."""
        if gateway and gateway == self.gateway and not self.force:
            raise Conflict("Answers to this very request go by the default route; force=true does it all the same")


def carriers(net: Netlink, state: State, origin: Origin, *, force: bool) -> Carriers:
    """Find the interfaces that have our address, by which answers leave, and all that lies below these.

    All ports of a bridge count: which of them leads to the client is not asked. Raises OSError.
    """
    ours, zone = _parse(origin.ours)
    client, client_zone = _parse(origin.client)
    gateway = b""
    found = {address.index for address in state.addresses if address.address == ours}
    if zone or client_zone:
        found = {link.index for link in state.links if link.name in (zone, client_zone)}
    if client is not None and not client_zone:
        with contextlib.suppress(KernelRefusal):  # there is no way to it now, so no answer arrives either
            index, gateway = routes.way_to(net, client)
            found.add(index)
    return Carriers(state.with_all_below(found), ours, gateway, force)


def _parse(text: str) -> tuple[AnyAddress | None, str]:
    """An address, unmapped, and the interface that it is tied to (`fe80::1%eth0`)."""
    bare, _, zone = text.partition("%")
    try:
        address = ip_address(bare)
    except ValueError:
        return None, ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped, ""
    return address, zone
