"""
The log: one JSON object a line on standard output, or readable lines where that is a terminal.

Fields: `time` (ISO 8601, UTC), `level`, `logger`, `message`, `request` (the request's id, from the event's
`request_id`) and `failure` (`type`, `message`, `traceback`). Other fields of an event are not written by
themselves, so that nothing reaches the log that its message does not show.
"""

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any, TextIO

import msgspec
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

_RANKS = {level.name: rank for rank, level in enumerate(LogLevel.iterconstants())}
_MESSAGE_LIMIT = 64 << 10


@implementer(ILogObserver)
class LineObserver:
    """Writes events of at least `level` to `stream`, as JSON or as text. Never raises."""

    def __init__(self, stream: TextIO, level: str = "info", *, as_json: bool = True) -> None:
        self._stream = stream
        self._least = _RANKS[level]
        self._render = json_line if as_json else text_line
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """Write one event; one that the stream refuses is counted, which the next line then tells."""
        if _rank(event) < self._least:
            return
        line = self._rendered(event)
        try:
            if self.lost:
                line = self._rendered({**_ABOUT_LOSS, "lost": self.lost}) + line
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe or a closed stream
            self.lost += 1
        else:
            self.lost = 0

    def _rendered(self, event: LogEvent) -> str:
        try:
            return self._render(event)
        except Exception as error:  # whatever an event holds, the program goes on
            return self._render({**_UNREADABLE, "error": type(error).__name__})


_ABOUT_LOSS = {
    "log_level": LogLevel.warn,
    "log_namespace": __name__,
    "log_format": "{lost} log lines could not be written",
}
_UNREADABLE = {
    "log_level": LogLevel.error,
    "log_namespace": __name__,
    "log_format": "a log event could not be rendered: {error}",
}


def observer(level: str = "info") -> LineObserver:
    """What `twistd --logger=` takes: an observer on standard output, text on a terminal, JSON elsewhere."""
    return LineObserver(sys.stdout, level, as_json=not sys.stdout.isatty())


observer_debug = partial(observer, "debug")
observer_info = partial(observer, "info")
observer_warn = partial(observer, "warn")
observer_error = partial(observer, "error")


def json_line(event: LogEvent) -> str:
    """The event as one line of JSON with its line end."""
    record: dict[str, Any] = {
        "time": _time(event).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.get("log_level", LogLevel.info).name,
        "logger": str(event.get("log_namespace", "")),
        "message": _clean(_message(event)),
    }
    if request := event.get("request_id"):
        record["request"] = _clean(str(request))
    if isinstance(failure := event.get("log_failure"), Failure):
        record["failure"] = {
            "type": failure.type.__name__ if failure.type else "",
            "message": _clean(failure.getErrorMessage()),
            "traceback": _clean(failure.getTraceback()),
        }
    return msgspec.json.encode(record).decode() + "\n"


def text_line(event: LogEvent) -> str:
    """The event as a line for people; a traceback follows indented."""
    time, level = _time(event).astimezone(), event.get("log_level", LogLevel.info).name
    parts = [time.strftime("%H:%M:%S"), f"{level:<5}", str(event.get("log_namespace", ""))]
    if request := event.get("request_id"):
        parts.append(f"[{_printable(str(request))}]")
    lines = [" ".join([*parts, *map(_printable, _message(event).splitlines()[:1])])]
    lines += [f"    {_printable(line)}" for line in _message(event).splitlines()[1:]]
    if isinstance(failure := event.get("log_failure"), Failure):
        lines += [f"    {_printable(line)}" for line in failure.getTraceback().splitlines()]
    return "\n".join(lines) + "\n"


def _rank(event: LogEvent) -> int:
    """The place of the event's level among all; one that is no level is not held back."""
    name = getattr(event.get("log_level", LogLevel.info), "name", "")
    return _RANKS.get(name, len(_RANKS)) if isinstance(name, str) else len(_RANKS)


def _time(event: LogEvent) -> datetime:
    seconds = event.get("log_time")
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else datetime.now(UTC)


def _message(event: LogEvent) -> str:
    """The formatted message; a failure logged without one speaks for itself."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if not text and isinstance(failure, Failure):
        text = failure.getErrorMessage()
    return text if len(text) <= _MESSAGE_LIMIT else f"{text[:_MESSAGE_LIMIT]} … ({len(text)} characters)"


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates (undecodable file names) escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _printable(text: str) -> str:
    """Text that cannot drive a terminal: control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _clean(text))
