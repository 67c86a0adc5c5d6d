"""The time of day as rows hold it."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the seconds since the epoch, such as a reactor."""

    def seconds(self) -> float:
        """Seconds since 1970-01-01 UTC."""


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds, 27 characters always: as text it sorts as the time does."""
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"
