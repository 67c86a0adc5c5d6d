"""How many requests a minute, or a second, one client may send to a surface."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from appliance.http.address import address_group
from appliance.http.call import Call
from appliance.http.errors import HttpError

WINDOW = 60.0
MAX_CLIENTS = 10_000


@dataclass(slots=True)
class _Window:
    end: float
    left: int


@dataclass(slots=True)
class _Bucket:
    filled: float
    at: float


class Windows:
    """Counts what bears one key: `limit` times in the `seconds` that the first one begins.

    In bounded memory: beyond 10 000 keys at once the one that came first begins anew.
    """

    def __init__(self, clock: IReactorTime, limit: int, seconds: float) -> None:
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._windows: dict[str, _Window] = {}

    def is_open(self, key: str) -> bool:
        """Whether something with that key was counted in a window that goes on."""
        window = self._windows.get(key)
        # A clock that was set back must not lock anybody out until it has caught up.
        return window is not None and window.end - self._seconds <= self._clock.seconds() < window.end

    def count(self, key: str) -> int:
        """Count one; 0 where it fits, else the seconds until the next window begins."""
        now = self._clock.seconds()
        window = self._windows[key] if self.is_open(key) else self._begin(key, now)
        if window.left == 0:
            return math.ceil(window.end - now)
        window.left -= 1
        return 0

    def _begin(self, key: str, now: float) -> _Window:
        self._windows.pop(key, None)
        if len(self._windows) >= MAX_CLIENTS:
            del self._windows[next(iter(self._windows))]
        window = self._windows[key] = _Window(now + self._seconds, self._limit)
        return window


class RateLimit:
    """Implements `http.surface.Gate`: `limit` requests in the minute that a client's first one begins; 0 = any number.

    Clients are counted by `address_group`, as by `Windows`. `exempt` tells of an address whether it is left alone.
    """

    def __init__(self, clock: IReactorTime, limit: int, exempt: Callable[[str], bool]) -> None:
        self._limit = limit
        self._exempt = exempt
        self._windows = Windows(clock, limit, WINDOW)

    def admit(self, call: Call) -> None:
        """Count a request. Raises a 429 with the seconds until the next minute begins (RFC 9110 section 10.2.3)."""
        if not self._limit:
            return
        group = address_group(call.address)
        if not self._windows.is_open(group) and self._exempt(call.address):
            return
        wait = self._windows.count(group)
        if wait:
            raise HttpError(429, f"More than {self._limit} requests a minute", headers={"Retry-After": str(wait)})


class TokenBucket:
    """Implements `http.surface.Gate`: `rate` requests a second in the long run, `burst` of them at once.

    A `rate` of 0 admits any number. Clients are counted by `address_group`; `exempt` tells of an address whether it is
    left alone; `words` are those of the refusal. In bounded memory: beyond 10 000 clients at once the one that has
    been away longest begins anew.
    """

    def __init__(
        self, clock: IReactorTime, rate: float, burst: int, exempt: Callable[[str], bool], words: str | None = None
    ) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._exempt = exempt
        self._words = words
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, call: Call) -> None:
        """Count a request. Raises a 429 with the seconds until there is room for one (RFC 9110 section 10.2.3)."""
        if not self._rate or self._exempt(call.address):
            return
        now = self._clock.seconds()
        bucket = self._bucket(address_group(call.address), now)
        # A clock that was set back gives nothing, and takes nothing.
        bucket.filled = min(self._burst, bucket.filled + max(0.0, now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.filled < 1:
            wait = math.ceil((1 - bucket.filled) / self._rate)
            raise HttpError(429, self._words, headers={"Retry-After": str(wait)})
        bucket.filled -= 1

    def _bucket(self, group: str, now: float) -> _Bucket:
        """The client's bucket, last in the order of use."""
        bucket = self._buckets.pop(group, None)
        if bucket is None:
            if len(self._buckets) >= MAX_CLIENTS:
                del self._buckets[next(iter(self._buckets))]
            bucket = _Bucket(self._burst, now)
        self._buckets[group] = bucket
        return bucket
