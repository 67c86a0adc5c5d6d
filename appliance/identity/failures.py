"""Counts failures by key, in a window of time and in bounded memory."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

K = TypeVar("K")


@dataclass(slots=True)
class Failures:
    """How many there were since the `first` one, and when the `last` one was (seconds of the clock)."""

    first: float
    last: float
    count: int


class FailureCounts(Generic[K]):
    """Failures within `window` seconds of each key's first one; beyond `limit` keys the oldest is forgotten."""

    def __init__(self, clock: IReactorTime, window: float, limit: int) -> None:
        self._clock = clock
        self._window = window
        self._limit = limit
        self._failures: dict[K, Failures] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def find(self, key: K) -> Failures | None:
        """What counts against `key` now."""
        found = self._failures.get(key)
        if found is not None and not self._within_window(found):
            del self._failures[key]
            return None
        return found

    def note(self, key: K) -> Failures:
        """Count one more; return what counts now."""
        now = self._clock.seconds()
        found = self.find(key)
        if found is None:
            if len(self._failures) >= self._limit:
                del self._failures[next(iter(self._failures))]
            found = self._failures[key] = Failures(now, now, 0)
        found.last = now
        found.count += 1
        return found

    def forget(self, key: K) -> None:
        """Count anew."""
        self._failures.pop(key, None)

    def _within_window(self, failures: Failures) -> bool:
        """Whether they still count. A clock that was set back must not lock anybody out until it has caught up."""
        return failures.last <= self._clock.seconds() <= failures.first + self._window
