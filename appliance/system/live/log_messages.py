"""What is said about the log: the filters of a subscription, and entries as clients get them."""

from datetime import datetime
from typing import Annotated

import msgspec

from appliance.host.journal.follow.batch import LiveEntry
from appliance.host.journal.follow.followers import Wanted
from appliance.host.journal.query import make_filter
from appliance.system.live.messages import Id, encode
from appliance.websocket.frames import prepared

DEFAULT_LINES = 100
"""How many entries of what there is are sent to who says neither `since` nor `lines`."""

MAX_LINES = 10_000

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Moment = _Text | Annotated[int, msgspec.Meta(ge=0, le=10**11)] | Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class LogFilters(msgspec.Struct):
    """
    Which entries are wanted; as in GET logs, whose `service` is `unit` here.

    First comes what there is: all since `since`, or the newest `lines` of it; without either the newest 100. Then, with
    `follow`, what is written from then on, until `until` where there is one.
    """

    unit: _Text | None = None
    priority: _Text | Annotated[int, msgspec.Meta(ge=0, le=7)] | None = None
    since: _Moment | None = None
    until: _Moment | None = None
    follow: bool = True
    lines: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINES)] | None = None

    def wanted(self, now: float) -> Wanted:
        """What the host is asked for; `now` in seconds since 1970. Raises `Invalid`."""
        found = make_filter(
            now=now,
            unit=self.unit,
            priority=_written(self.priority),
            since=_written(self.since),
            until=_written(self.until),
        )
        lines = DEFAULT_LINES if self.lines is None and found.since is None else self.lines
        return Wanted(found, lines, self.follow)


class _Payload(msgspec.Struct):
    filters: LogFilters | None = None


class Subscribe(msgspec.Struct):
    """`subscribe`; without filters, everything."""

    payload: _Payload | None = None

    @property
    def filters(self) -> LogFilters:
        """What is asked for."""
        return (self.payload.filters if self.payload is not None else None) or LogFilters()


class Entry(msgspec.Struct, omit_defaults=True):
    """An entry as clients get it. `message_truncated`: the message was longer than the MiB that is here."""

    timestamp: datetime
    level: str
    unit: str
    message: str
    hostname: str
    pid: int | None
    message_truncated: bool = False


class Data(msgspec.Struct, tag_field="type", tag="data"):
    """An entry on `/ws/logs`."""

    payload: Entry


class _LogEvent(msgspec.Struct, tag_field="kind", tag="log"):
    entry: Entry


class Event(msgspec.Struct, tag_field="type", tag="event"):
    """An entry on `/ws/events`."""

    payload: _LogEvent


class _Ended(msgspec.Struct):
    channel: str


class End(msgspec.Struct, tag_field="type", tag="end", omit_defaults=True):
    """Nothing more will come of the subscription `id`: all that it asked for has been sent."""

    payload: _Ended
    id: Id | None = None


def data_frame(entry: LiveEntry) -> bytes:
    """An entry as `/ws/logs` sends it, as a frame."""
    return prepared(encode(Data(_entry(entry))))


def event_frame(entry: LiveEntry) -> bytes:
    """An entry as `/ws/events` sends it, as a frame."""
    return prepared(encode(Event(_LogEvent(_entry(entry)))))


def end(channel: str, id: Id | None) -> End:
    """The end of a subscription to `channel`."""
    return End(_Ended(channel), id)


def _entry(live: LiveEntry) -> Entry:
    return Entry(
        live.timestamp,
        live.priority,
        live.unit,
        live.message,
        live.hostname,
        live.pid,
        message_truncated=live.truncated,
    )


def _written(value: str | int | float | None) -> str | None:
    """A number as if it had been written as text; with microseconds, which is as exact as the log."""
    match value:
        case None | str():
            return value
        case int():
            return str(value)
        case _:
            return f"{value:.6f}"
