"""Makes what is shown of the network from what the kernel tells of it."""

import msgspec

from appliance.host.network import links
from appliance.host.network.links import Link
from appliance.host.network.model import Interface, Statistics
from appliance.host.network.state import State

ETHERNET, BRIDGE, BOND, VLAN, LOOPBACK = "ethernet", "bridge", "bond", "vlan", "loopback"

# RFC 2863 in the kernel's words (Documentation/networking/operstates.rst).
_OPERATIONAL = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_MAC_LENGTHS = (6, 8, 20)  # Ethernet and most others, FireWire and 802.15.4, InfiniBand; tunnels have IP addresses here


def interfaces_of(state: State) -> list[Interface]:
    """Every interface."""
    names = {link.index: link.name for link in state.links}
    addresses: dict[int, list[str]] = {}
    for address in state.addresses:
        addresses.setdefault(address.index, []).append(str(address))
    ports: dict[int, list[str]] = {}
    for link in state.links:
        if link.master:
            ports.setdefault(link.master, []).append(link.name)
    return [_interface(link, names, addresses.get(link.index, []), ports.get(link.index, [])) for link in state.links]


def _interface(link: Link, names: dict[int, str], addresses: list[str], ports: list[str]) -> Interface:
    is_vlan = link.kind == VLAN
    operational = link.operational
    return Interface(
        name=link.name,
        index=link.index,
        mac=link.mac.hex(":") if len(link.mac) in _MAC_LENGTHS else "",
        mtu=link.mtu,
        state="up" if link.is_up else "down",
        operational_state=_OPERATIONAL[operational] if operational < len(_OPERATIONAL) else "unknown",
        type=_type(link),
        addresses=addresses,
        statistics=_statistics(link.counters),
        master=names.get(link.master, ""),
        interfaces=ports if link.kind in (BRIDGE, BOND) else msgspec.UNSET,
        interface=names.get(link.parent, "") if is_vlan else msgspec.UNSET,
        vlan_id=link.vlan_id if is_vlan else msgspec.UNSET,
    )


def _type(link: Link) -> str:
    return link.kind or (LOOPBACK if link.hardware == links.LOOPBACK else ETHERNET)


def _statistics(counters: tuple[int, ...]) -> Statistics:
    rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped = counters
    return Statistics(rx_bytes, tx_bytes, rx_packets, tx_packets, rx_errors, tx_errors, rx_dropped, tx_dropped)
