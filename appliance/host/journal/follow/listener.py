"""Who takes the entries, and which of them."""

from typing import Protocol

from appliance.host.journal.follow.batch import Batch
from appliance.host.journal.query import LogFilter


class Listener(Protocol):
    """Takes entries and says when it has enough for now."""

    @property
    def slow(self) -> bool:
        """Whether it has enough for now. It may still be given one more batch."""

    def deliver(self, batch: Batch) -> None:
        """Take the next entries."""

    async def drained(self) -> None:
        """Return when it is not slow, or is gone."""


def selected(batch: Batch, wanted: LogFilter) -> Batch | None:
    """What of `batch` was received in the time that is wanted; the same batch where that is all of it."""
    if wanted.since is None and wanted.until is None:
        return batch
    since = wanted.since or 0
    until = wanted.until
    entries = [each for each in batch.entries if since <= each.received and (until is None or each.received <= until)]
    if len(entries) == len(batch.entries):
        return batch
    return Batch(entries) if entries else None
