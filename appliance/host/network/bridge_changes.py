"""Making and removing bridges and VLANs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import EBUSY, EEXIST, EINVAL, ELOOP, ENODEV, EOPNOTSUPP

from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.host.network import as_it_was, links, names
from appliance.host.network.assembly import BRIDGE, VLAN
from appliance.host.network.change import Before, Prepared, refused, whole
from appliance.host.network.links import Link
from appliance.host.network.netlink import KernelRefusal, Netlink, Request
from appliance.host.network.state import State

_NO_SUCH_DRIVER = "Unknown device type"  # the kernel's words; it has the same error number for other refusals


@dataclass(frozen=True, slots=True)
class NewBridge:
    """Make a bridge with these ports, and bring it up."""

    name: str
    ports: Sequence[str]

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        name = names.check_new(self.name, "name")
        _refuse_if_taken(before.state, name)
        if len(set(self.ports)) != len(self.ports):
            raise Invalid("interfaces", "an interface can be a port once only")
        ports = [_free_port(before, port) for port in self.ports]
        undo = [links.delete_by_name(name), *as_it_was.standing(before, ports)]

        def make(net: Netlink) -> None:
            _make(net, links.new_bridge(name), name, _kernel_without("bridges"))
            with whole(net, undo):
                bridge = links.read_one(net, name).index
                for port in ports:
                    _change(net, links.set_master(port.index, bridge), f"{port.name} cannot be a port of {name}")
                _change(net, links.set_up(bridge, up=True), f"{name} cannot be brought up")

        return Prepared(f"Bridge {name} created", make, undo)


@dataclass(frozen=True, slots=True)
class NewVlan:
    """Make a VLAN (802.1Q) on an interface, and bring it up where that is up."""

    parent: str
    vlan_id: int
    name: str = ""

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`; the last also when it is made and the kernel has no VLANs."""
        parent = before.state.link(names.check(self.parent, "interface"))
        name = self.name or f"{parent.name}.{self.vlan_id}"
        if not self.name and len(name.encode()) > names.LIMIT:
            raise Invalid("name", f"needed, since {name} is longer than {names.LIMIT} bytes")
        names.check_new(name, "name")
        _refuse_if_taken(before.state, name)
        for other in before.state.lying_on(parent.index):
            if other.kind == VLAN and other.vlan_id == self.vlan_id:
                raise Conflict(f"{parent.name} has the VLAN {self.vlan_id} already: {other.name}")
        undo = [links.delete_by_name(name)]

        def make(net: Netlink) -> None:
            unsupported = {EOPNOTSUPP: Conflict(f"{parent.name} cannot have VLANs")}
            _make(net, links.new_vlan(name, parent.index, self.vlan_id), name, _kernel_without("VLANs"), unsupported)
            if parent.is_up:
                with whole(net, undo):
                    index = links.read_one(net, name).index
                    _change(net, links.set_up(index, up=True), f"{name} cannot be brought up")

        down = "" if parent.is_up else f"; it is down, as {parent.name} is"
        return Prepared(f"VLAN {name} created", make, undo, remark=down)


@dataclass(frozen=True, slots=True)
class Removal:
    """Remove a bridge or VLAN, on which nothing else lies."""

    name: str
    kind: str

    def prepare(self, before: Before) -> Prepared:
        """Raises `Invalid`, `Unknown`, `Conflict`."""
        word = "bridge" if self.kind == BRIDGE else "VLAN"
        name = names.check(self.name, "name")
        link = next((link for link in before.state.links if link.name == name and link.kind == self.kind), None)
        if link is None:
            raise Unknown(f"There is no {word} {name}")
        above = before.state.lying_on(link.index)
        if above:
            raise Conflict(f"{above[0].name} lies on {name} and would go with it; remove that first")
        before.carriers.spare(link.index, name)

        def make(net: Netlink) -> None:
            gone = {ENODEV: Unknown(f"There is no {word} {name} any more")}
            _change(net, links.delete(link.index), f"{name} cannot be removed", gone)

        said = word[0].upper() + word[1:]
        undo = as_it_was.removed(before, link)
        lost = f"{name} filters VLANs, whose tables could not be made again" if link.filters_vlans else ""
        return Prepared(f"{said} {name} deleted", make, undo, irreversible=lost)


def _free_port(before: Before, name: str) -> Link:
    link = before.state.link(names.check(name, "interfaces"))
    if link.master:
        master = next((each.name for each in before.state.links if each.index == link.master), "another")
        raise Conflict(f"{name} is a port of {master} already")
    before.carriers.spare(link.index, name)
    return link


def _refuse_if_taken(state: State, name: str) -> None:
    if any(link.name == name for link in state.links):
        raise Conflict(f"There is an interface {name} already")


def _kernel_without(kinds: str) -> HostError:
    return Conflict(f"The kernel of this machine has no support for {kinds}")


def _make(
    net: Netlink, request: Request, name: str, no_driver: HostError, meanings: Mapping[int, HostError] | None = None
) -> None:
    try:
        net.change(request)
    except KernelRefusal as refusal:
        if refusal.number == EOPNOTSUPP and refusal.words in ("", _NO_SUCH_DRIVER):
            raise no_driver from refusal
        known: dict[int, HostError] = {
            EEXIST: Conflict(f"There is an interface {name}, or one like it, already"),
            EINVAL: Invalid("name", f"the kernel does not take {name}"),
            **(meanings or {}),
        }
        raise refused(refusal, f"{name} cannot be made", known) from refusal


def _change(net: Netlink, request: Request, what: str, meanings: Mapping[int, HostError] | None = None) -> None:
    known: dict[int, HostError] = {
        EBUSY: Conflict(f"{what}: it is in use"),
        EINVAL: Conflict(f"{what}: it is of a kind that cannot"),
        ELOOP: Conflict(f"{what}: that would be a loop"),
        EOPNOTSUPP: Conflict(f"{what}: it is of a kind that cannot"),
        ENODEV: Unknown(f"{what}: it is gone"),
        **(meanings or {}),
    }
    try:
        net.change(request)
    except KernelRefusal as refusal:
        raise refused(refusal, what, known) from refusal
