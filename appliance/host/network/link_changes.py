"""Bringing interfaces up and down."""

from dataclasses import dataclass
from errno import ENETDOWN, ENODEV

from appliance.host.errors import Conflict, Unknown
from appliance.host.network import as_it_was, links, names
from appliance.host.network.change import Before, Prepared, refused
from appliance.host.network.netlink import KernelRefusal, Netlink


@dataclass(frozen=True, slots=True)
class Up:
    """Bring an interface up."""

    name: str

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`."""
        return _prepare(before, self.name, up=True)


@dataclass(frozen=True, slots=True)
class Down:
    """Bring an interface down, but not the one that carries the request."""

    name: str

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        return _prepare(before, self.name, up=False)


def _prepare(before: Before, name: str, *, up: bool) -> Prepared:
    link = before.state.link(names.check(name, "name"))
    if not up:
        before.carriers.spare(link.index, link.name)
    word = "up" if up else "down"

    def make(net: Netlink) -> None:
        try:
            net.change(links.set_up(link.index, up=up))
        except KernelRefusal as refusal:
            meanings = {
                ENODEV: Unknown(f"There is no interface {name} any more"),
                ENETDOWN: Conflict(f"{name} cannot be brought up: what it lies on is down"),
            }
            raise refused(refusal, f"{name} cannot be brought {word}", meanings) from refusal

    # VLANs go up and down with what they lie on.
    undo = as_it_was.standing(before, before.state.with_all_above(link.index))
    return Prepared(f"Interface {name} brought {word}", make, undo)
