"""Moments as the mesh keeps them: microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from twisted.internet.interfaces import IReactorTime

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1)


def now(clock: IReactorTime) -> int:
    """This moment."""
    return int(clock.seconds() * SECOND)


def shown(moment: int) -> str:
    """ISO 8601 with microseconds and without a zone, as clients parse it (mesh contract, "timestamps")."""
    return f"{_second(moment // SECOND)}.{moment % SECOND:06d}"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """Those of a list are often the same: what is made or written together."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def shown_or_none(moment: int | None) -> str | None:
    """The same; None for a moment that has not come."""
    return None if moment is None else shown(moment)


def parse(text: str) -> int:
    """The moment that an ISO 8601 text means, UTC where it names no zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
