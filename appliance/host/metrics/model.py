"""One sample of the machine's figures."""

from typing import Literal, get_args

import msgspec

from appliance.host.figures import CpuUse, Memory

Metric = Literal["cpu", "memory", "disk", "network", "load"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class DiskIo(msgspec.Struct, frozen=True):
    """What a device does in a second."""

    read_bytes: float
    write_bytes: float
    reads: float
    writes: float


class DiskUse(msgspec.Struct, frozen=True):
    """A mounted file system, in bytes; `used_percent` as df(1) counts it."""

    device: str
    mount_point: str
    filesystem: str
    total: int
    used: int
    free: int
    used_percent: float
    io: DiskIo


class Traffic(msgspec.Struct, frozen=True):
    """What an interface has carried since it exists (the kernel's counters)."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class InterfaceUse(msgspec.Struct, frozen=True):
    """A network interface: what it carries in a second, and in all."""

    name: str
    rx_bytes: float
    tx_bytes: float
    rx_packets: float
    tx_packets: float
    total: Traffic


class Sample(msgspec.Struct, frozen=True):
    """Everything at one moment (seconds since 1970); what is a rate is the mean since the sample before."""

    at: float
    cpu: CpuUse
    load: tuple[float, float, float]
    memory: Memory
    disks: tuple[DiskUse, ...]
    interfaces: tuple[InterfaceUse, ...]
