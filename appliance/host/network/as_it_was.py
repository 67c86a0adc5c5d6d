"""What makes interfaces again as they were, with the addresses and routes that the kernel takes away with them.

To bring an interface down takes its routes and its IPv6 addresses, to remove its last IPv4 address takes all its IPv4
routes, to remove an address takes the routes of all interfaces that are sent from it, to remove an interface takes
everything. What comes back by itself is left out: the kernel's own routes, those
of routing daemons, and what routers advertise. What is lost: settings in /proc/sys, neighbours and forwarding entries
that somebody has entered, queueing disciplines.
"""

from collections.abc import Iterable, Sequence

from appliance.host.network import addresses, links, routes
from appliance.host.network.change import Before
from appliance.host.network.links import Link
from appliance.host.network.netlink import Request
from appliance.host.network.routes import Route


def standing(before: Before, all_links: Iterable[Link]) -> list[Request]:
    """Requests for links that stay: up or down, addresses, routes."""
    wanted = list(all_links)
    known = of_links(before, wanted)
    return [
        *(links.set_up(link.index, up=link.is_up) for link in wanted),
        *(addresses.add_again(each) for link in wanted for each in _lasting(before, link)),
        *(routes.add_again(route) for route in known),
    ]


def of_links(before: Before, wanted: Iterable[Link]) -> list[Route]:
    """The routes that may go with links or with their addresses."""
    indexes = {link.index for link in wanted}
    found = [each.address for each in before.state.addresses if each.index in indexes]
    return routes.of_links(routes.read(before.net), indexes, found)


def removed(before: Before, link: Link) -> list[Request]:
    """Requests for a link that goes: the link itself, its ports and theirs, and all as for one that stays."""
    ports = before.state.ports(link.index)
    return [
        links.new_as(link),
        *([links.new_as(link, with_settings=False)] if link.kind == "bridge" else []),
        *([links.set_master(link.index, link.master)] if link.master else []),
        *(links.set_master(port.index, link.index) for port in ports),
        *(links.set_port_data(port) for port in ports if link.kind == "bridge"),
        *(links.set_property(link, kind) for kind in _to_be_said_again(link, ports)),
        *standing(before, [link, *ports]),
    ]


def _to_be_said_again(link: Link, ports: Sequence[Link]) -> list[int]:
    """The properties that a link does not keep from its making: a bridge's MTU follows its ports until it is set."""
    by_itself = min((port.mtu for port in ports), default=link.mtu)
    is_set = link.kind == "bridge" and link.mtu != by_itself
    return [*([links.MTU] if is_set else []), *([links.ALIAS] if links.ALIAS in link.all else [])]


def _lasting(before: Before, link: Link) -> Sequence[addresses.Address]:
    return [each for each in before.state.addresses_of(link.index) if not each.comes_back_by_itself]
