"""The last hour of samples, for charts: a ring of encoded values, of a size that does not grow."""

from collections import deque
from collections.abc import Callable, Mapping

from appliance.host.metrics.model import METRICS, Metric, Sample

INTERVAL = 10
"""Seconds between two samples that are kept."""
MINUTES = 60
BYTES_LIMIT = 2 << 20
"""For each metric: a machine with very many disks or interfaces has a shorter history of them."""

Render = Callable[[Sample], Mapping[Metric, bytes]]


class History:
    """Keeps what `render` makes of each sample, by metric."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._rings = {metric: _Ring(MINUTES * 60 // INTERVAL) for metric in METRICS}

    def add(self, sample: Sample) -> None:
        """Keep a sample, and forget the oldest."""
        for metric, encoded in self._render(sample).items():
            self._rings[metric].add(sample.at, encoded)

    def since(self, metric: Metric, moment: float) -> list[bytes]:
        """The encoded values of a metric from `moment` on, the oldest first."""
        return [encoded for at, encoded in self._rings[metric].values if at >= moment]


class _Ring:
    def __init__(self, length: int) -> None:
        self.values: deque[tuple[float, bytes]] = deque()
        self._length = length
        self._bytes = 0

    def add(self, at: float, encoded: bytes) -> None:
        self.values.append((at, encoded))
        self._bytes += len(encoded)
        while len(self.values) > self._length or self._bytes > BYTES_LIMIT:
            self._bytes -= len(self.values.popleft()[1])
