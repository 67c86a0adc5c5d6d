"""Slows down whoever guesses: five failures in a row cost nothing, then each doubles the pause."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from appliance.http.address import address_group
from appliance.identity.failures import FailureCounts

FREE = 5
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
REMEMBERED = 86400.0
MAX_KEYS = 10_000

_MAX_NAME = 64

K = TypeVar("K", bound=Hashable)


class Pauses(Generic[K]):
    """
    After the fifth failure in a row a key waits 2 s, after the sixth 4 s, and so on up to 300 s.

    A pause lasts from when the refusal was told (`told`), lest it be over by then. Failures are forgotten by a success,
    or a day after the first; beyond 10 000 keys the oldest is.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: FailureCounts[K] = FailureCounts(clock, REMEMBERED, MAX_KEYS)

    def left(self, key: K) -> float:
        """Seconds until `key` may try again; 0 = now."""
        found = self._failures.find(key)
        if found is None or found.count < FREE:
            return 0.0
        pause = min(FIRST_PAUSE * 2.0 ** min(found.count - FREE, 10), LONGEST_PAUSE)
        return max(0.0, found.last + pause - self._clock.seconds())

    def failed(self, key: K) -> None:
        """Note a failure."""
        self._failures.note(key)

    def told(self, key: K) -> None:
        """The refusal goes out now."""
        found = self._failures.find(key)
        if found is not None:
            found.last = self._clock.seconds()

    def succeeded(self, key: K) -> None:
        """Forget the failures."""
        self._failures.forget(key)


class LoginPauses:
    """Implements `identity.passwords.Backoff` by user and address together; addresses are those of `address_group`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._pauses: Pauses[tuple[str, str]] = Pauses(clock)

    def retry_after(self, user: str, address: str) -> float:
        """Seconds until a password of `user` from `address` is looked at again; 0 = now."""
        return self._pauses.left(_pair(user, address))

    def failed(self, user: str, address: str) -> None:
        """Note a password that was refused."""
        self._pauses.failed(_pair(user, address))

    def told(self, user: str, address: str) -> None:
        """The refusal goes out now."""
        self._pauses.told(_pair(user, address))

    def succeeded(self, user: str, address: str) -> None:
        """Forget what counts against `user` from `address`."""
        self._pauses.succeeded(_pair(user, address))


def _pair(user: str, address: str) -> tuple[str, str]:
    return user[:_MAX_NAME], address_group(address)
