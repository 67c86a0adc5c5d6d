"""How late the reactor comes to what is due: the one figure that tells of everything that blocks it."""

from bisect import bisect_left

from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL = 0.5
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds of the histogram's buckets, in seconds; the last bucket has none."""


class ReactorLag:
    """Measures it twice a second, as a histogram since the start."""

    def __init__(self, clock: IReactorTime) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self._clock = clock
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + INTERVAL
        self._timer = self._clock.callLater(INTERVAL, self._measure)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _measure(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self.buckets[bisect_left(BOUNDS, late)] += 1
        self.total += late
        self.start()
