"""Entries of the log as lines for people, in the form of journalctl's `short`."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from appliance.client.errors import ClientError
from appliance.client.text import printable

_RED, _YELLOW, _BOLD, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_COLOURS: Mapping[str, str] = {
    "emergency": _RED,
    "alert": _RED,
    "critical": _RED,
    "error": _RED,
    "warning": _YELLOW,
    "notice": _BOLD,
    "debug": _DIM,
}


class Entry(msgspec.Struct):
    """An entry as a server sends it."""

    timestamp: str
    level: str
    unit: str | None
    message: str
    hostname: str
    pid: int | None
    message_truncated: bool = False


def lines(entry: Entry, *, colours: bool) -> str:
    """
    Return what is printed for an entry: `Aug  1 10:30:00 host unit[pid]: message`, in local time.

    Further lines of the message stand below its first. Nothing in it can drive the terminal. Raises `ClientError`.
    """
    moment = _local(entry.timestamp)
    pid = "" if entry.pid is None else f"[{entry.pid}]"
    source = printable(f"{entry.hostname} {entry.unit or 'unknown'}{pid}: ")
    head = f"{moment:%b} {moment.day:2} {moment:%H:%M:%S} {source}"
    first, *others = [printable(line.expandtabs()) for line in entry.message.rstrip("\n").split("\n")]
    if entry.message_truncated:
        others.append("[…]")
    colour = _COLOURS.get(entry.level, "") if colours else ""
    texts = [f"{colour}{text}{_PLAIN}" if colour else text for text in (first, *others)]
    return head + ("\n" + " " * len(head)).join(texts) + "\n"


def _local(timestamp: str) -> datetime:
    try:
        return datetime.fromisoformat(timestamp).astimezone()
    except (ValueError, OverflowError):
        raise ClientError(f"The server sends an entry of a time that is none: {timestamp[:40]}") from None
