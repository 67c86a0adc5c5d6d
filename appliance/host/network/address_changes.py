"""Giving addresses to interfaces, replacing and removing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from errno import EACCES, EADDRNOTAVAIL, EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENODEV

from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.host.network import addresses, as_it_was, names, routes
from appliance.host.network.addresses import Address
from appliance.host.network.change import Before, Prepared, refused, whole
from appliance.host.network.links import Link
from appliance.host.network.netlink import KernelRefusal, Netlink, Request, ensure
from appliance.host.network.routes import Route
from appliance.host.network.wanted import Wanted, parse_found


@dataclass(frozen=True, slots=True)
class NewAddress:
    """Give an interface one more address, and the default route a gateway where there is none yet."""

    name: str
    wanted: Wanted

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        link = before.state.link(names.check(self.name, "name"))
        wanted = self.wanted
        for each in before.state.addresses_of(link.index):
            if each.address == wanted.address.ip:
                raise _taken(link, each)
        gateway = _Gateway.of(before, link, wanted)
        gateway.refuse_another()
        add = addresses.add(link.index, wanted.address)
        requests = [
            *gateway.undo(),
            addresses.remove(link.index, wanted.address),
            *as_it_was.standing(before, [link]),
        ]

        def make(net: Netlink) -> None:
            try:
                net.change(add)
            except KernelRefusal as refusal:
                raise _address_refused(refusal, link, wanted) from refusal
            with whole(net, requests):
                gateway.make(net, replace=False)

        return Prepared(f"Address {wanted} added to {link.name}", make, requests)


@dataclass(frozen=True, slots=True)
class ReplacedAddress:
    """Give an interface an address in the place of all others of its family, and the default route its gateway.

    The kernel's own IPv6 addresses (fe80::) and those that routers advertise stay.
    """

    name: str
    wanted: Wanted

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        link = before.state.link(names.check(self.name, "name"))
        wanted = self.wanted
        has_it, replaced = _split(before.state.addresses_of(link.index), wanted)
        _spare(before, [each for each in replaced if each.address != wanted.address.ip])
        gateway = _Gateway.of(before, link, wanted)
        if not gateway.is_there:
            for rival in gateway.rivals:
                before.carriers.spare_gateway(rival.gateway)
        # One that it had as well, and in IPv4 behind another of its network, must go for the order to come back.
        stays = has_it and wanted.address.version == 6
        requests = [
            *gateway.undo(),
            *([] if stays else [addresses.remove(link.index, wanted.address)]),
            *as_it_was.standing(before, [link]),
            *gateway.restore(),
        ]
        exchange = [*(addresses.remove_found(each) for each in replaced), addresses.add(link.index, wanted.address)]
        left = [routes.add_again(route) for route in gateway.others(before, link)]

        def make(net: Netlink) -> None:
            with whole(net, requests):
                *_, refusal = net.change_together(exchange)
                if refusal is not None and not (has_it and refusal.number == EEXIST):
                    raise _address_refused(refusal, link, wanted)
                gateway.make(net, replace=True)
                ensure(net, left)  # those whose gateway is out of reach now stay away

        return Prepared(f"Address {wanted} set on {link.name}", make, requests)


@dataclass(frozen=True, slots=True)
class RemovedAddress:
    """Take an address from an interface, but not the one at which the request came in."""

    name: str
    address: str

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        host, length = parse_found(self.address, "address")
        link = before.state.link(names.check(self.name, "name"))
        all_of_link = before.state.addresses_of(link.index)
        found = [each for each in all_of_link if each.address == host and length in (None, each.prefix)]
        if not found:
            raise Unknown(f"{link.name} has no address {self.address}")
        if len(found) > 1:
            raise Conflict(f"{link.name} has {' and '.join(map(str, found))}; say which one")
        (address,) = found
        _spare(before, [address])
        others = [each for each in all_of_link if each is not address and each.address.version == host.version]
        behind = [each for each in others if each.is_secondary and each.network == address.network]
        requests = [  # the first of its network must come back as the first
            *(addresses.remove_found(each) for each in behind if not address.is_secondary),
            *as_it_was.standing(before, [link]),
        ]
        kept = [addresses.add_again(each) for each in others]
        known = as_it_was.of_links(before, [link]) if others else []

        def make(net: Netlink) -> None:
            with whole(net, requests):
                _remove(net, link, address)
                # An IPv4 address takes the others of its network with it, unless promote_secondaries is set, and the
                # last one the routes of the interface.
                failures = ensure(net, kept)
                if failures:
                    raise Conflict(f"{address} cannot be removed without others: {failures[0]}")
                ensure(net, [routes.add_again(route) for route in known if route.version == host.version])

        return Prepared(f"Address {address} removed from {link.name}", make, requests)


@dataclass(frozen=True, slots=True)
class _Gateway:
    """The default route as it shall be, and what stands in its place now."""

    link: Link
    gateway: addresses.AnyAddress | None
    rivals: Sequence[Route]

    @classmethod
    def of(cls, before: Before, link: Link, wanted: Wanted) -> "_Gateway":
        if wanted.gateway is None:
            return cls(link, None, [])
        return cls(link, wanted.gateway, routes.rivals(routes.read(before.net), wanted.gateway.version))

    @property
    def is_there(self) -> bool:
        return self.gateway is not None and any(
            rival.gateway == self.gateway.packed and rival.through == {self.link.index} for rival in self.rivals
        )

    def refuse_another(self) -> None:
        if self.rivals and not self.is_there:
            raise Conflict("There is a default route already, by another way; PUT replaces it")

    def make(self, net: Netlink, *, replace: bool) -> None:
        if self.gateway is None:
            return
        try:
            net.change(routes.add_default(self.link.index, self.gateway, replace=replace))
        except KernelRefusal as refusal:
            if refusal.number == EEXIST and self.is_there:
                return
            down = Conflict(f"{self.link.name} is down, and can have no gateway before it is up")
            unreachable = Invalid("gateway", f"{self.gateway} cannot be reached through {self.link.name}")
            no_way = unreachable if self.link.is_up else down
            meanings: dict[int, HostError] = {
                ENETUNREACH: no_way,
                EHOSTUNREACH: no_way,
                EINVAL: no_way,
                ENETDOWN: down,
                EEXIST: Conflict("There is a default route already, by another way"),
            }
            raise refused(refusal, "The default route cannot be set", meanings) from refusal

    def undo(self) -> list[Request]:
        return [] if self.gateway is None else [routes.remove_default(self.link.index, self.gateway)]

    def restore(self) -> list[Request]:
        return [routes.add_again(rival) for rival in self.rivals]

    def others(self, before: Before, link: Link) -> list[Route]:
        """The routes of the link and its addresses without a default route that is being replaced."""
        return [route for route in as_it_was.of_links(before, [link]) if route not in self.rivals]


def _spare(before: Before, gone: Sequence[Address]) -> None:
    """Raise `Conflict` where a request came in at one of these addresses, or its answers are sent from one."""
    for each in gone:
        before.carriers.spare_address(each.address)
    sources = {each.address.packed for each in gone if each.address.version == 4}  # IPv6 routes stay, without it
    for route in routes.read(before.net) if sources else []:
        if route.is_default and route.source in sources:
            before.carriers.spare_gateway(route.gateway)


def _split(found: Sequence[Address], wanted: Wanted) -> tuple[bool, list[Address]]:
    """Whether the wanted address is there, and those that are to go."""
    own = [
        each
        for each in found
        if each.address.version == wanted.address.version and not each.is_of_the_link and not each.comes_back_by_itself
    ]
    same = [each for each in own if str(each) == str(wanted)]
    return bool(same), [each for each in own if each not in same]


def _remove(net: Netlink, link: Link, address: Address) -> None:
    try:
        net.change(addresses.remove_found(address))
    except KernelRefusal as refusal:
        gone = Unknown(f"{link.name} has no address {address} any more")
        raise refused(refusal, f"{address} cannot be removed", {EADDRNOTAVAIL: gone, ENODEV: gone}) from refusal


def _taken(link: Link, address: Address) -> HostError:
    return Conflict(f"{link.name} has the address {address} already")


def _address_refused(refusal: KernelRefusal, link: Link, wanted: Wanted) -> HostError:
    off = Conflict(f"IPv{wanted.address.version} is off on {link.name}")
    meanings: dict[int, HostError] = {
        EACCES: off,
        EEXIST: Conflict(f"{link.name} has the address {wanted} already"),
        EINVAL: Invalid("address", f"the kernel does not take {wanted}"),
        EADDRNOTAVAIL: Invalid("address", f"the kernel does not take {wanted}"),
        ENODEV: Unknown(f"There is no interface {link.name} any more, or it can have no addresses"),
    }
    return refused(refusal, f"{wanted} cannot be set on {link.name}", meanings)
