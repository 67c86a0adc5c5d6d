"""Interfaces as they are shown, in the fields of the reference and those that its web interface and we add."""

from typing import Literal

import msgspec


class Statistics(msgspec.Struct, frozen=True):
    """What has gone through since the interface was made. `errors` and `dropped` count packets."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Interface(msgspec.Struct, frozen=True):
    """One interface.

    `state` says whether it was brought up, `operational_state` whether it can send: `up`, `down`, `lowerlayerdown`
    (what lies below is down), `dormant`, `testing`, `notpresent`, or `unknown` where its driver does not tell. `type`
    is `ethernet` for hardware, else the kernel's kind (`bridge`, `vlan`, `bond`, `veth`, `tun`, `loopback`, …). `mac`
    is empty where there is none, `master` the bridge or bond it is a port of. `interfaces` are the ports of a bridge
    or bond; `interface` and `vlan_id` are a VLAN's.
    """

    name: str
    index: int
    mac: str
    mtu: int
    state: Literal["up", "down"]
    operational_state: str
    type: str
    addresses: list[str]
    statistics: Statistics
    master: str
    interfaces: list[str] | msgspec.UnsetType = msgspec.UNSET
    interface: str | msgspec.UnsetType = msgspec.UNSET
    vlan_id: int | msgspec.UnsetType = msgspec.UNSET
