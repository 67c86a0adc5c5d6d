"""Slows down whoever guesses: failures counted by address, in bounded memory."""

from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

WINDOW = 60.0
WAIT = 1.0
MAX_ADDRESSES = 10_000


@dataclass(slots=True)
class _Failures:
    first: float
    last: float
    count: int


class Backoff:
    """Beyond `free` failures within 60 s an address is refused unchecked until 1 s after its last failure.

    The first `free` cost nothing; 0 turns it off. Only the address that failed waits; refusals given meanwhile are no
    failures.
    """

    def __init__(self, clock: IReactorTime, free: int) -> None:
        self._clock = clock
        self._free = free
        self._failures: dict[str, _Failures] = {}

    def blocks(self, address: str) -> bool:
        """Whether credentials from `address` (an `address_group`) are not even looked at now."""
        found = self._failures.get(address)
        if found is None or not self._free:
            return False
        now = self._clock.seconds()
        if not _within_window(found, now):
            del self._failures[address]
            return False
        return found.count > self._free and now - found.last < WAIT

    def failed(self, address: str) -> bool:
        """Note a failure; return True when it is the one with which refusing unchecked begins."""
        now = self._clock.seconds()
        found = self._failures.get(address)
        if found is None or not _within_window(found, now):
            self._failures.pop(address, None)
            self._forget_oldest()
            found = self._failures[address] = _Failures(now, now, 0)
        found.last = now
        found.count += 1
        return bool(self._free) and found.count == self._free + 1

    def _forget_oldest(self) -> None:
        if len(self._failures) >= MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]


def _within_window(failures: _Failures, now: float) -> bool:
    """Whether they still count. A clock that was set back must not lock anybody out until it has caught up."""
    return failures.last <= now <= failures.first + WINDOW
