"""The machine's own counters, as OpenMetrics families. Rates are for the monitoring system to make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.host.figures import Memory
from appliance.host.metrics.counters import Counters, Operations
from appliance.host.metrics.model import Traffic
from appliance.host.storage.tables import Mount, printable
from appliance.host.storage.usage import NO_SPACE, Space


@dataclass(frozen=True)
class Machine:
    """What the machine has counted by now."""

    counters: Counters
    memory: Memory
    load: tuple[float, float, float]
    mounts: Sequence[Mount]
    space: Mapping[str, Space]


class HostCollector(Collector):
    """The families of one moment."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def collect(self) -> Iterator[Metric]:
        """The families."""
        yield from self._processors()
        yield from self._memory()
        yield from self._file_systems()
        yield from self._devices()
        yield from self._interfaces()

    def _processors(self) -> Iterator[Metric]:
        busy = CounterMetricFamily("appliance_host_cpu_busy_seconds", "Time a processor was busy", labels=["cpu"])
        all_time = CounterMetricFamily("appliance_host_cpu_seconds", "Time a processor was on", labels=["cpu"])
        for number, (worked, whole) in enumerate(self._machine.counters.processors.cores):
            busy.add_metric([str(number)], worked)
            all_time.add_metric([str(number)], whole)
        yield busy
        yield all_time
        for minutes, load in zip((1, 5, 15), self._machine.load, strict=True):
            yield GaugeMetricFamily(f"appliance_host_load{minutes}", f"Load average of {minutes} min", load)

    def _memory(self) -> Iterator[Metric]:
        memory = self._machine.memory
        for name, text, value in (
            ("memory_total", "Memory", memory.total),
            ("memory_available", "Memory that programs could have", memory.available),
            ("swap_total", "Swap space", memory.swap_total),
            ("swap_free", "Swap space that is free", memory.swap_free),
        ):
            yield GaugeMetricFamily(f"appliance_host_{name}_bytes", text, value)

    def _file_systems(self) -> Iterator[Metric]:
        labels = ["device", "mount_point", "filesystem"]
        size = GaugeMetricFamily("appliance_host_filesystem_size_bytes", "Size of a file system", labels=labels)
        free = GaugeMetricFamily("appliance_host_filesystem_free_bytes", "What may still be used of it", labels=labels)
        for mount in self._machine.mounts:
            space = self._machine.space.get(mount.mount_point, NO_SPACE)
            where = [printable(mount.source), printable(mount.mount_point), mount.filesystem]
            size.add_metric(where, space.total)
            free.add_metric(where, space.available)
        yield size
        yield free

    def _devices(self) -> Iterator[Metric]:
        values: Sequence[tuple[str, str, Callable[[Operations], int]]] = (
            ("read_bytes", "Bytes read from a disk", lambda each: each.read_bytes),
            ("written_bytes", "Bytes written to a disk", lambda each: each.write_bytes),
            ("reads", "Reads of a disk", lambda each: each.reads),
            ("writes", "Writes to a disk", lambda each: each.writes),
        )
        for name, text, value in values:
            family = CounterMetricFamily(f"appliance_host_disk_{name}", text, labels=["device"])
            for mount in self._machine.mounts:
                operations = self._machine.counters.devices.get(mount.number)
                if operations is not None:
                    family.add_metric([printable(mount.source)], value(operations))
            yield family

    def _interfaces(self) -> Iterator[Metric]:
        values: Sequence[tuple[str, str, Callable[[Traffic], int]]] = (
            ("receive_bytes", "Bytes received", lambda each: each.rx_bytes),
            ("transmit_bytes", "Bytes sent", lambda each: each.tx_bytes),
            ("receive_packets", "Packets received", lambda each: each.rx_packets),
            ("transmit_packets", "Packets sent", lambda each: each.tx_packets),
            ("receive_errors", "Receive errors", lambda each: each.rx_errors),
            ("transmit_errors", "Transmit errors", lambda each: each.tx_errors),
            ("receive_drops", "Received packets that were dropped", lambda each: each.rx_dropped),
            ("transmit_drops", "Packets that were dropped before they were sent", lambda each: each.tx_dropped),
        )
        for name, text, value in values:
            family = CounterMetricFamily(f"appliance_host_network_{name}", text, labels=["interface"])
            for interface, traffic in self._machine.counters.interfaces.items():
                family.add_metric([interface], value(traffic))
            yield family
