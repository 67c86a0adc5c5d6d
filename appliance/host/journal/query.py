"""What to look for in the log: a filter, made of what clients write."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from appliance.host.errors import Invalid

PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
"""The names in our answers; the place of each is its number in syslog(3)."""

SEARCH_LIMIT = 256
"""Longest text to search for, in characters."""

_SHORT_NAMES = {"emerg": 0, "panic": 0, "crit": 2, "err": 3, "warn": 4}
_NUMBERS = {name: number for number, name in enumerate(PRIORITIES)} | _SHORT_NAMES
_NUMBERS |= {str(number): number for number in range(len(PRIORITIES))}

# The characters of unit names (systemd.unit(5)) and those of common syslog tags: `postfix/smtpd`, `(sd-pam)`.
_SERVICE = re.compile(r"[A-Za-z0-9_(][A-Za-z0-9_.@:\\+/() -]{0,254}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_RELATIVE = re.compile(r"-([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_UNIX = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,6}))?")
# A `+` that was not percent-encoded arrives as a space, hence the space before the offset.
_CALENDAR = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)(?:([Zz])|([+ -])([0-9]{2}:[0-9]{2}))?)?"
)
_FORMS = "expected RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), seconds since 1970, or relative like -1h"


class LogFilter(msgspec.Struct, frozen=True):
    """
    Which entries are wanted; None leaves that side open.

    `service` is a unit or syslog identifier; `priority` a number of syslog(3), of which that and the more severe ones
    are wanted; `since` and `until` are microseconds since 1970, both included; `search` is part of the message, in any
    case.
    """

    service: str | None = None
    priority: int | None = None
    since: int | None = None
    until: int | None = None
    search: str | None = None


def make_filter(
    *,
    now: float,
    service: str | None = None,
    unit: str | None = None,
    priority: str | None = None,
    since: str | None = None,
    until: str | None = None,
    search: str | None = None,
) -> LogFilter:
    """
    Return the filter for what a client wrote; an empty text counts as not given. `unit` is another name of `service`.

    `now` (seconds since 1970) is what relative times count from. Raises `Invalid`, naming the field.
    """
    if service and unit and service != unit:
        raise Invalid("unit", "another name of service, which was given another value")
    found = LogFilter(
        service=_service("service" if service else "unit", service or unit) if service or unit else None,
        priority=_priority(priority) if priority else None,
        since=_moment("since", since, now) if since else None,
        until=_moment("until", until, now) if until else None,
        search=_search(search) if search else None,
    )
    if found.since is not None and found.until is not None and found.since > found.until:
        raise Invalid("since", "lies after until")
    return found


def _service(field: str, text: str | None) -> str:
    if text is None or not _SERVICE.fullmatch(text) or ".." in text.split("/"):
        raise Invalid(field, "expected the name of a unit or a syslog identifier, as sshd or cron.service")
    return text


def _priority(text: str) -> int:
    number = _NUMBERS.get(text.lower())
    if number is None:
        raise Invalid("priority", f"expected one of {', '.join(reversed(PRIORITIES))}, or 0 to 7")
    return number


def _search(text: str) -> str:
    if len(text) > SEARCH_LIMIT or not text.isprintable():
        raise Invalid("search", f"expected at most {SEARCH_LIMIT} printable characters")
    return text


def _moment(field: str, text: str, now: float) -> int:
    """Microseconds since 1970; what lies before is 0."""
    try:
        found = _microseconds(text, now)
    except (ValueError, OverflowError):
        raise Invalid(field, "no such date or time") from None
    if found is None:
        raise Invalid(field, _FORMS)
    if found > _LATEST:  # by its offset from UTC
        raise Invalid(field, "no such date or time")
    return max(0, found)


def _microseconds(text: str, now: float) -> int | None:
    if match := _RELATIVE.fullmatch(text):
        # Whole seconds: those who ask for the same within one of them share what was counted.
        return (int(now) - int(match[1]) * _SECONDS[match[2]]) * 1_000_000
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * 1_000_000 + int((match[2] or "0").ljust(6, "0"))
    if match := _CALENDAR.fullmatch(text):
        day, time, _, sign, offset = match.groups()
        zone = f"{'-' if sign == '-' else '+'}{offset}" if offset else "+00:00"
        moment = datetime.fromisoformat(f"{day}T{time or '00:00'}{zone}")
        return (moment - _EPOCH) // timedelta(microseconds=1)
    return None
