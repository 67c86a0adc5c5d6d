"""How full file systems are, asked in threads, so that one that does not answer keeps nobody waiting."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from appliance.process.reactor import within
from appliance.threads import Threads

_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes used, bytes that may be used still, and all there are, with those that are kept for root."""

    used: int
    available: int
    total: int = 0

    @property
    def use_percent(self) -> float:
        """As df(1) counts it: what is kept for root is no part of the whole."""
        whole = self.used + self.available
        return round(100 * self.used / whole, 1) if whole else 0.0


NO_SPACE = Space(0, 0)


class Usage:
    """Remembers the last answer of each file system; one that hangs holds one thread, and is not asked again."""

    def __init__(self, reactor: Any, threads: Threads, wait: float = _WAIT) -> None:
        self._reactor = reactor
        self._wait = wait
        self._threads = threads
        self._known: dict[str, Space] = {}
        self._asked: set[str] = set()

    async def measure(self, mount_points: Iterable[str]) -> Mapping[str, Space]:
        """The space of each file system that has answered by now, or earlier; waits for `wait` seconds at the most."""
        wanted = set(mount_points)
        for gone in [path for path in list(self._known) if path not in wanted]:
            self._known.pop(gone, None)  # never another dictionary: a thread that is late fills this one
        waiting = sorted(wanted - self._asked)
        if waiting:
            asking = Deferred.fromCoroutine(self._threads.run(self._ask, waiting, self._known))
            with contextlib.suppress(TimeoutError):  # what it was before is told until it answers
                await within(self._reactor, self._wait, asking)
        return dict(self._known)

    def _ask(self, mount_points: list[str], known: dict[str, Space]) -> None:
        for path in mount_points:
            self._asked.add(path)
            try:
                found = os.statvfs(path)
                used = (found.f_blocks - found.f_bfree) * found.f_frsize
                known[path] = Space(used, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
            except OSError:
                known.pop(path, None)
            finally:
                self._asked.discard(path)
