"""Links and addresses as they were at one moment, and how they hang together."""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.host.errors import Unknown
from appliance.host.network import addresses, links
from appliance.host.network.addresses import Address
from appliance.host.network.links import Link
from appliance.host.network.netlink import Netlink


@dataclass(frozen=True)
class State:
    """All links and all their addresses."""

    links: list[Link]
    addresses: list[Address]

    def link(self, name: str) -> Link:
        """The link of that name. Raises `Unknown`."""
        for link in self.links:
            if link.name == name:
                return link
        raise Unknown(f"There is no interface {name}")

    def ports(self, index: int) -> list[Link]:
        """The ports of a bridge or bond."""
        return [link for link in self.links if link.master == index]

    def lying_on(self, index: int) -> list[Link]:
        """The links that would go with this one: VLANs and the like, but not the other end of a veth."""
        return [link for link in self.links if link.parent == index and link.index != index and link.kind != "veth"]

    def with_all_above(self, index: int) -> list[Link]:
        """A link and all that lie on it, lower ones first."""
        found = [link for link in self.links if link.index == index]
        for link in found:
            found.extend(above for above in self.lying_on(link.index) if above not in found)
        return found

    def addresses_of(self, index: int) -> list[Address]:
        """The addresses of a link, in the order in which it got them."""
        return [address for address in self.addresses if address.index == index]

    def with_all_below(self, indexes: Iterable[int]) -> frozenset[int]:
        """Links, and all that what they send goes through: parents and ports, and theirs."""
        found: set[int] = set()
        waiting = set(indexes)
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            waiting.update(link.index for link in self.ports(index))
            waiting.update(link.parent for link in self.links if link.index == index and link.parent)
        return frozenset(found)


def read(net: Netlink) -> State:
    """Ask the kernel. Raises OSError and `KernelRefusal`."""
    return State(links.read(net), addresses.read(net))
