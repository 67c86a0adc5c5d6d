"""Slows down whoever guesses: failures counted by address, in bounded memory."""

from twisted.internet.interfaces import IReactorTime

from appliance.identity.failures import FailureCounts

WINDOW = 60.0
WAIT = 1.0
MAX_ADDRESSES = 10_000


class Backoff:
    """Beyond `free` failures within 60 s an address is refused unchecked until 1 s after its last failure.

    The first `free` cost nothing; 0 turns it off. Only the address that failed waits; refusals given meanwhile are no
    failures.
    """

    def __init__(self, clock: IReactorTime, free: int) -> None:
        self._clock = clock
        self._free = free
        self._failures: FailureCounts[str] = FailureCounts(clock, WINDOW, MAX_ADDRESSES)

    def blocks(self, address: str) -> bool:
        """Whether credentials from `address` (an `address_group`) are not even looked at now."""
        found = self._failures.find(address)
        if found is None or not self._free:
            return False
        return found.count > self._free and self._clock.seconds() - found.last < WAIT

    def failed(self, address: str) -> bool:
        """Note a failure; return True when it is the one with which refusing unchecked begins."""
        return self._failures.note(address).count == self._free + 1 and bool(self._free)
