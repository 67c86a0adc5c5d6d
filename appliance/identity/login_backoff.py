"""Slows down whoever guesses passwords, without letting anybody lock a user out."""

from twisted.internet.interfaces import IReactorTime

from appliance.http.address import address_group
from appliance.identity.failures import FailureCounts, Failures

WINDOW = 15 * 60.0
FREE = 4
"""Failures within the window that cost nothing."""

LONGEST_WAIT = 60.0
MAX_KEYS = 10_000

_MAX_NAME = 64


class LoginBackoff:
    """
    From the fifth failure within 15 minutes its address waits: 1 s after that one, then 2, 4, … 60 s.

    Counted by address and by user and address together, and never by user alone: whoever guesses a user's password
    from elsewhere does not keep that user from logging in. Addresses are those of `address_group`. Each of the two has
    its own 10 000 keys, so that inventing user names does not make an address forgotten. Both know only what has been
    decided: ask again when a check gets its turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._addresses: FailureCounts[str] = FailureCounts(clock, WINDOW, MAX_KEYS)
        self._pairs: FailureCounts[tuple[str, str]] = FailureCounts(clock, WINDOW, MAX_KEYS)

    def retry_after(self, user: str, address: str) -> float:
        """Seconds until a password of `user` from `address` is looked at again; 0 = now."""
        group = address_group(address)
        return max(self._left(self._addresses.find(group)), self._left(self._pairs.find(_pair(user, group))))

    def failed(self, user: str, address: str) -> None:
        """Note a password that was refused."""
        group = address_group(address)
        self._addresses.note(group)
        self._pairs.note(_pair(user, group))

    def succeeded(self, user: str, address: str) -> None:
        """Forget what counts against `user` from `address`.

        Not what counts against the address: else one known password would pay for any number of guesses at others.
        """
        self._pairs.forget(_pair(user, address_group(address)))

    def _left(self, found: Failures | None) -> float:
        if found is None or found.count <= FREE:
            return 0.0
        doublings = min(found.count - FREE - 1, 10)  # a count without end must not overflow
        wait = min(2.0**doublings, LONGEST_WAIT)
        return max(0.0, found.last + wait - self._clock.seconds())


def _pair(user: str, group: str) -> tuple[str, str]:
    return user[:_MAX_NAME], group
