"""All families as one OpenMetrics text. Loaded at the first question: most servers are never asked."""

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from appliance.system.exposition.counted import Counted
from appliance.system.exposition.host import HostCollector, Machine
from appliance.system.exposition.server import ServerCollector


class Exposition:
    """Collects and renders."""

    def __init__(self, counted: Counted) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(ServerCollector(counted))
        # Of the library itself: CPU time, memory and descriptors of this process, garbage collection, the interpreter.
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self, machine: Machine) -> bytes:
        """The text; `machine` was read this moment."""
        collector = HostCollector(machine)
        self._registry.register(collector)
        try:
            text: bytes = generate_latest(self._registry)
            return text
        finally:
            self._registry.unregister(collector)
