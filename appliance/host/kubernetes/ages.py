"""How long ago something happened, in the style of kubectl(1)."""

from datetime import datetime

UNKNOWN = "<unknown>"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_YEAR = 365 * _DAY


def age(moment: str | None, now: float) -> str:
    """How long ago `moment` (RFC 3339) was at `now` (seconds since 1970), as `2d`; `<unknown>` where it is none."""
    then = _seconds(moment)
    return UNKNOWN if then is None else duration(now - then)


def seconds_between(begin: str | None, end: str | None, now: float) -> float | None:
    """From one moment (RFC 3339) to another, or to `now` where that has not come; None where there is no beginning."""
    began, ended = _seconds(begin), _seconds(end)
    return None if began is None else (now if ended is None else ended) - began


def duration(seconds: float) -> str:
    """A length of time: one or two units, the fewer the longer it is.

    The steps are those of HumanDuration in k8s.io/apimachinery/pkg/util/duration. Clocks may differ by a second.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def _seconds(moment: str | None) -> float | None:
    """Seconds since 1970."""
    try:
        then = datetime.fromisoformat(moment) if moment else None
    except ValueError:
        return None
    return None if then is None or then.tzinfo is None else then.timestamp()


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    count, rest = divmod(seconds, large)
    left = rest // small
    return f"{count}{large_name}{left}{small_name}" if left else f"{count}{large_name}"
