"""The figures of a machine as a server sends them: a message for each metric, all of one moment."""

from typing import Annotated, Any

import msgspec

from appliance.client.message import Message, decode

Number = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Core(msgspec.Struct):
    core: Count
    usage_percent: Number


class Cpu(msgspec.Struct):
    usage_percent: Number
    cores: list[Core]


class Memory(msgspec.Struct):
    total: Number
    used: Number
    used_percent: Number
    swap_total: Number
    swap_used: Number
    swap_used_percent: Number


class DiskIo(msgspec.Struct):
    read_bytes_per_sec: Number
    write_bytes_per_sec: Number


class Disk(msgspec.Struct):
    mount_point: str
    total: Number
    free: Number
    used_percent: Number
    io_stats: DiskIo


class Disks(msgspec.Struct):
    disks: list[Disk]


class Interface(msgspec.Struct):
    name: str
    rx_bytes_per_sec: Number
    tx_bytes_per_sec: Number
    rx_packets_per_sec: Number
    tx_packets_per_sec: Number
    rx_errors: Count
    tx_errors: Count


class Interfaces(msgspec.Struct):
    interfaces: list[Interface]


class Load(msgspec.Struct):
    load1: Number
    load5: Number
    load15: Number


class Sample(msgspec.Struct):
    """All that is shown of one moment."""

    timestamp: str
    cpu: Cpu
    memory: Memory
    disk: Disks
    network: Interfaces
    load: Load


_METRICS: dict[str, type[msgspec.Struct]] = {
    "cpu": Cpu,
    "memory": Memory,
    "disk": Disks,
    "network": Interfaces,
    "load": Load,
}


class _Metric(msgspec.Struct):
    metric: str
    timestamp: str
    data: msgspec.Raw


class Samples:
    """Puts metrics together."""

    def __init__(self) -> None:
        self._timestamp = ""
        self._found: dict[str, Any] = {}

    def take(self, message: Message) -> Sample | None:
        """Take a message of the type `metric`; the sample, where that is whole now. Raises `ClientError`."""
        metric = message.decode(_Metric)
        kind = _METRICS.get(metric.metric)
        if kind is None:  # of a server that is newer than this
            return None
        if metric.timestamp != self._timestamp:
            self._timestamp, self._found = metric.timestamp, {}
        self._found[metric.metric] = decode(metric.data, kind)
        if self._found.keys() != _METRICS.keys():
            return None
        return Sample(self._timestamp, **self._found)
