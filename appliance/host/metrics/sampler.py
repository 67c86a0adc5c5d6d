"""One sampler for everybody: it runs while somebody listens, and its samples come at whole multiples of an interval."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from appliance.background import Background
from appliance.host.figures import Figures, cpu_use, load_average
from appliance.host.metrics.counters import Counters, io_between, rate, read_counters
from appliance.host.metrics.filesystems import FileSystems
from appliance.host.metrics.model import DiskUse, InterfaceUse, Sample, Traffic
from appliance.host.storage.tables import Mount, printable
from appliance.host.storage.usage import NO_SPACE, Space

FIRST_WINDOW = 0.2
"""Seconds over which the first sample of all is taken; later ones cover the time since the one before."""
RETRY = 1.0

Listener = Callable[[Sample], None]


class Sampler:
    """
    Takes samples at the seconds that some listener's interval divides, so that all who listen at one interval get the
    same ones. Nothing is read while nobody listens.
    """

    _log = Logger()

    def __init__(self, reactor: Any, background: Background, figures: Figures, file_systems: FileSystems) -> None:
        self._reactor = reactor
        self._background = background
        self._figures = figures
        self._file_systems = file_systems
        self._listeners: dict[int, list[Listener]] = {}
        self._latest: Sample | None = None
        self._counters: Counters | None = None
        self._timer: IDelayedCall | None = None
        self._sampling = False

    @property
    def latest(self) -> Sample | None:
        """The last sample; None while there is none, or nobody has been listening."""
        return self._latest

    @property
    def running(self) -> bool:
        """Whether somebody listens."""
        return bool(self._listeners)

    def listen(self, interval: int, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with a sample every `interval` whole seconds, and with the very first one.

        Returns what ends it. A listener that cannot take a sample now must leave it out: nothing waits for it.
        """
        self._listeners.setdefault(interval, []).append(listener)
        if self._timer is None and not self._sampling:
            self._begin()
        else:
            self._schedule()

        def stop() -> None:
            listeners = self._listeners.get(interval, [])
            if listener in listeners:
                listeners.remove(listener)
                if not listeners:
                    del self._listeners[interval]
                    self._schedule()

        return stop

    def _begin(self) -> None:
        with suppress(OSError):  # out of descriptors, perhaps: the first sample says so, and is tried again
            self._counters = read_counters(self._reactor.seconds())
        self._timer = self._reactor.callLater(FIRST_WINDOW, self._first)

    def _first(self) -> None:
        self._timer = None
        self._sample(list(self._listeners))

    def _schedule(self) -> None:
        """Set the timer for the next second that an interval divides, or end."""
        if self._latest is None and self._listeners:
            return  # the first sample is under way, and sets it
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._listeners:
            self._counters = self._latest = None
            return
        now = self._reactor.seconds()
        due = min((int(now) // interval + 1) * interval for interval in self._listeners)
        self._timer = self._reactor.callLater(due - now, self._tick, due)

    def _tick(self, second: int) -> None:
        self._timer = None
        self._sample([interval for interval in self._listeners if second % interval == 0])
        self._schedule()

    def _sample(self, intervals: list[int]) -> None:
        """Take a sample for those who listen at `intervals`, unless the one before is still being taken."""
        if not self._sampling:
            self._sampling = True
            self._background.spawn("taking a sample of the machine's figures", self._take(intervals))

    async def _take(self, intervals: list[int]) -> None:
        try:
            sample = await self._measure()
        except Exception:
            self._log.failure("The machine's figures could not be read")
            if self._latest is None and self._listeners:
                self._timer = self._reactor.callLater(RETRY, self._first)
            return
        finally:
            self._sampling = False
        if not self._listeners:
            return
        begins, self._latest = self._latest is None, sample
        if begins:
            intervals = list(self._listeners)
            self._schedule()
        for interval in intervals:
            for listener in list(self._listeners.get(interval, ())):
                self._tell(listener, sample)

    def _tell(self, listener: Listener, sample: Sample) -> None:
        try:
            listener(sample)
        except Exception:  # the others have nothing to do with it
            self._log.failure("A listener could not take a sample")

    async def _measure(self) -> Sample:
        mounts, space = await self._file_systems.measure()
        before = self._counters
        after = read_counters(self._reactor.seconds())
        while before is None or len(before.processors.cores) != len(after.processors.cores):
            before = after  # a processor was switched on or off: these two cannot be compared
            await deferLater(self._reactor, FIRST_WINDOW)
            after = read_counters(self._reactor.seconds())
        self._counters = after
        seconds = after.at - before.at
        return Sample(
            at=after.at,
            cpu=cpu_use(before.processors, after.processors),
            load=load_average(),
            memory=self._figures.memory(),
            disks=tuple(disk_use(mount, space.get(mount.mount_point), before, after, seconds) for mount in mounts),
            interfaces=tuple(
                interface_use(name, before.interfaces.get(name), total, seconds)
                for name, total in after.interfaces.items()
            ),
        )


def disk_use(mount: Mount, space: Space | None, before: Counters, after: Counters, seconds: float) -> DiskUse:
    """A file system between two readings; one that has never answered has no size."""
    known = space or NO_SPACE
    return DiskUse(
        device=printable(mount.source),
        mount_point=printable(mount.mount_point),
        filesystem=mount.filesystem,
        total=known.total,
        used=known.used,
        free=known.available,
        used_percent=known.use_percent,
        io=io_between(before.devices.get(mount.number), after.devices.get(mount.number), seconds),
    )


def interface_use(name: str, before: Traffic | None, after: Traffic, seconds: float) -> InterfaceUse:
    """An interface between two readings; one that is new has carried nothing yet."""
    earlier = before or after
    return InterfaceUse(
        name=name,
        rx_bytes=rate(earlier.rx_bytes, after.rx_bytes, seconds),
        tx_bytes=rate(earlier.tx_bytes, after.tx_bytes, seconds),
        rx_packets=rate(earlier.rx_packets, after.rx_packets, seconds),
        tx_packets=rate(earlier.tx_packets, after.tx_packets, seconds),
        total=after,
    )
