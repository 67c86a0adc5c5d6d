"""What waits for the database thread."""

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

Work = Callable[[sqlite3.Connection], Any]


class Call:
    """A function that waits for its turn, then its outcome."""

    __slots__ = ("_work", "deferred", "outcome")

    def __init__(self, work: Work) -> None:
        self._work: Work | None = work
        self.deferred: Deferred[Any] = Deferred(self._cancel)
        self.outcome: Any = None

    def begin(self) -> Work | None:
        """The function, once; None when its caller has left."""
        work, self._work = self._work, None
        return work

    def _cancel(self, deferred: Deferred[Any]) -> None:
        self._work = None
