"""How many requests a minute one client may send to a surface."""

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


class RateLimit:
    """Implements `http.surface.Gate`: `limit` requests in the minute that a client's first one begins; 0 = any number.

    Clients are counted by `address_group`. `exempt` tells of an address whether it is left alone. In bounded memory:
    beyond 10 000 clients at once the one that came first begins anew.
    """

    def __init__(self, clock: IReactorTime, limit: int, exempt: Callable[[str], bool]) -> None:
        self._clock = clock
        self._limit = limit
        self._exempt = exempt
        self._windows: dict[str, _Window] = {}

    def admit(self, call: Call) -> None:
        """Count a request. Raises a 429 with the seconds until the next minute begins (RFC 9110 section 10.2.3)."""
        if not self._limit:
            return
        now = self._clock.seconds()
        group = address_group(call.address)
        window = self._windows.get(group)
        # A clock that was set back must not lock anybody out until it has caught up.
        if window is None or not window.end - WINDOW <= now < window.end:
            if self._exempt(call.address):
                return
            window = self._begin(group, now)
        if window.left == 0:
            wait = math.ceil(window.end - now)
            raise HttpError(429, f"More than {self._limit} requests a minute", headers={"Retry-After": str(wait)})
        window.left -= 1

    def _begin(self, group: str, now: float) -> _Window:
        self._windows.pop(group, None)
        if len(self._windows) >= MAX_CLIENTS:
            del self._windows[next(iter(self._windows))]
        window = self._windows[group] = _Window(now + WINDOW, self._limit)
        return window
