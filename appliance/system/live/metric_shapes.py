"""A sample in the shapes of the system contract: that of `/ws/metrics` and the history, and that of `/ws/events`."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from appliance.host.figures import Memory
from appliance.host.metrics.model import DiskUse, InterfaceUse, Metric, Sample


class Core(msgspec.Struct):
    """One processor, counted from 0."""

    core: int
    usage_percent: float


class Cpu(msgspec.Struct):
    """How busy the processors were, and the load of 1, 5 and 15 minutes."""

    usage_percent: float
    load1: float
    load5: float
    load15: float
    cores: list[Core]


class IoStats(msgspec.Struct):
    """What a disk does."""

    read_bytes_per_sec: float
    write_bytes_per_sec: float
    read_ops_per_sec: float
    write_ops_per_sec: float


class DiskFigures(msgspec.Struct):
    """A mounted file system, in bytes."""

    device: str
    mount_point: str
    filesystem: str
    total: int
    used: int
    free: int
    used_percent: float
    io_stats: IoStats


class Disks(msgspec.Struct):
    """All of them."""

    disks: list[DiskFigures]


class Interface(msgspec.Struct):
    """A network interface; errors and drops since it exists."""

    name: str
    rx_bytes_per_sec: float
    tx_bytes_per_sec: float
    rx_packets_per_sec: float
    tx_packets_per_sec: float
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Network(msgspec.Struct):
    """All interfaces."""

    interfaces: list[Interface]


class Load(msgspec.Struct):
    """The load of 1, 5 and 15 minutes."""

    load1: float
    load5: float
    load15: float


class EventCpu(msgspec.Struct):
    """The processors, for `/ws/events`."""

    usage: float
    cores: int
    per_core: tuple[float, ...]
    load_average: tuple[float, float, float]


class EventDisk(msgspec.Struct):
    """A mounted file system, for `/ws/events`."""

    device: str
    mountpoint: str
    fstype: str
    total: int
    used: int
    free: int
    used_percent: float


class EventInterface(msgspec.Struct):
    """What a network interface has carried since it exists, for `/ws/events`."""

    interface: str
    bytes_sent: int
    bytes_recv: int
    packets_sent: int
    packets_recv: int
    errin: int
    errout: int
    dropin: int
    dropout: int


class EventData(msgspec.Struct):
    """Everything at once."""

    timestamp: str
    cpu: EventCpu
    memory: Memory
    disk: list[EventDisk]
    network: list[EventInterface]


class EventPayload(msgspec.Struct, tag_field="kind", tag="metrics"):
    """What kind of event it is."""

    data: EventData


class Event(msgspec.Struct, tag_field="type", tag="event"):
    """A message of `/ws/events`."""

    payload: EventPayload


_encode = msgspec.json.Encoder().encode


def timestamp(at: float) -> str:
    """A moment as RFC 3339 has it, in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def values(sample: Sample) -> dict[Metric, bytes]:
    """What a sample says of each metric, encoded."""
    return {
        "cpu": _encode(
            Cpu(sample.cpu.total, *sample.load, [Core(number, use) for number, use in enumerate(sample.cpu.per_core)])
        ),
        "memory": _encode(sample.memory),
        "disk": _encode(Disks([_disk(each) for each in sample.disks])),
        "network": _encode(Network([_interface(each) for each in sample.interfaces])),
        "load": _encode(Load(*sample.load)),
    }


def metric_messages(sample: Sample) -> Mapping[str, bytes]:
    """The messages of `/ws/metrics`, by metric."""
    at = timestamp(sample.at).encode()
    return {
        metric: b'{"type":"metric","metric":"%b","timestamp":"%b","data":%b}' % (metric.encode(), at, value)
        for metric, value in values(sample).items()
    }


def event_message(sample: Sample) -> Mapping[str, bytes]:
    """The message of the channel `metrics` of `/ws/events`."""
    cpu = EventCpu(sample.cpu.total, len(sample.cpu.per_core), sample.cpu.per_core, sample.load)
    disks = [
        EventDisk(each.device, each.mount_point, each.filesystem, each.total, each.used, each.free, each.used_percent)
        for each in sample.disks
    ]
    interfaces = [
        EventInterface(
            interface=each.name,
            bytes_sent=each.total.tx_bytes,
            bytes_recv=each.total.rx_bytes,
            packets_sent=each.total.tx_packets,
            packets_recv=each.total.rx_packets,
            errin=each.total.rx_errors,
            errout=each.total.tx_errors,
            dropin=each.total.rx_dropped,
            dropout=each.total.tx_dropped,
        )
        for each in sample.interfaces
    ]
    data = EventData(timestamp(sample.at), cpu, sample.memory, disks, interfaces)
    return {"metrics": _encode(Event(EventPayload(data)))}


def history_entry(sample: Sample) -> dict[Metric, bytes]:
    """What the history keeps of a sample."""
    at = timestamp(sample.at).encode()
    return {metric: b'{"timestamp":"%b","data":%b}' % (at, value) for metric, value in values(sample).items()}


def _disk(each: DiskUse) -> DiskFigures:
    io = IoStats(each.io.read_bytes, each.io.write_bytes, each.io.reads, each.io.writes)
    return DiskFigures(
        each.device, each.mount_point, each.filesystem, each.total, each.used, each.free, each.used_percent, io
    )


def _interface(each: InterfaceUse) -> Interface:
    return Interface(
        name=each.name,
        rx_bytes_per_sec=each.rx_bytes,
        tx_bytes_per_sec=each.tx_bytes,
        rx_packets_per_sec=each.rx_packets,
        tx_packets_per_sec=each.tx_packets,
        rx_errors=each.total.rx_errors,
        tx_errors=each.total.tx_errors,
        rx_dropped=each.total.rx_dropped,
        tx_dropped=each.total.tx_dropped,
    )
