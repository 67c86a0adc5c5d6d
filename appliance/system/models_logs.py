"""What may be asked of the log."""

from typing import Annotated

import msgspec

from appliance.host.errors import Invalid
from appliance.host.journal.query import SEARCH_LIMIT, LogFilter, make_filter

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

_SERVICE = (
    "A systemd unit (`.service` may be left out), with what the service manager says of it, or a syslog identifier."
)
_PRIORITY = (
    "That priority and the more severe ones: debug, info, notice, warning (warn), error (err), critical (crit), alert, "
    "emergency (emerg), or 7 to 0."
)
_SINCE = (
    "Received then or later: RFC 3339, `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD` (UTC), seconds since 1970, or so long ago:"
    " `-30s`, `-15m`, `-1h`, `-2d`, `-1w`."
)

_Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE_SIZE)]


def _text(description: str, limit: int = 256) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=limit)


class LogQuery(msgspec.Struct):
    """The query of GET logs; a parameter without a value counts as not given."""

    service: Annotated[str, _text(_SERVICE)] = ""
    unit: Annotated[str, _text("Another name of `service`.")] = ""
    priority: Annotated[str, _text(_PRIORITY)] = ""
    since: Annotated[str, _text(_SINCE)] = ""
    until: Annotated[str, _text("Received then or earlier; forms as in `since`.")] = ""
    search: Annotated[str, _text("Part of the message, in any case.", SEARCH_LIMIT)] = ""
    page: Annotated[int, msgspec.Meta(ge=1, le=10**12, description="Page number; 1 has the newest entries.")] = 1
    page_size: Annotated[
        _Size | None, msgspec.Meta(description=f"Entries to a page, {DEFAULT_PAGE_SIZE} where not given.")
    ] = None
    limit: Annotated[_Size | None, msgspec.Meta(description="Another name of `page_size`.")] = None

    def filter(self, now: float) -> LogFilter:
        """Return what is wanted; `now` in seconds since 1970. Raises `Invalid`."""
        return make_filter(
            now=now,
            service=self.service,
            unit=self.unit,
            priority=self.priority,
            since=self.since,
            until=self.until,
            search=self.search,
        )

    def size(self) -> int:
        """Entries to a page. Raises `Invalid`."""
        if self.page_size is not None and self.limit is not None and self.page_size != self.limit:
            raise Invalid("limit", "another name of page_size, which was given another value")
        return self.page_size or self.limit or DEFAULT_PAGE_SIZE
