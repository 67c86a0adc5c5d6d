"""
journalctl's output in the Journal Export Format, taken apart as it comes off the pipe.

The format (systemd.io/JOURNAL_EXPORT_FORMATS): a line `NAME=value` a field, an empty line after each entry. A value
that is not text in one line is `NAME`, a newline, its length in 64 bits (little-endian), its bytes, a newline. Of
journalctl's formats it is the cheapest to print, gives fields of any length whole, and tells a value's length before
its bytes: so one that is too long can be cut instead of held.
"""

from collections.abc import Mapping, Sequence

import msgspec

from appliance.host.journal.output import NotAnExport

MESSAGE_LIMIT = 1 << 20
"""Bytes of a message that are kept, over all of an entry's MESSAGE fields."""

FIELD_LIMIT = 4096
"""Bytes of any other value that are kept."""

_MESSAGE = b"MESSAGE"
_NAME_LIMIT = 64  # systemd.journal-fields(7): names have at most 64 characters
_LENGTH_SIZE = 8


class Record(msgspec.Struct):
    """
    An entry's fields, the first value of each, and its messages (an entry may have several).

    `truncated` says that of the messages only the beginning was kept.
    """

    fields: Mapping[bytes, bytes]
    messages: Sequence[bytes]
    truncated: bool


class ExportParser:
    """Takes the output in pieces of any size; holds at most one entry, cut to the limits."""

    def __init__(self) -> None:
        self._rest = b""  # what a later piece has to complete
        self._name = b""  # of the value that is being read
        self._kept = b""  # its bytes so far
        self._to_come = 0  # how many bytes of a value of known length are missing
        self._in_line = False  # or: it ends with its line
        self._begin()

    def feed(self, data: bytes) -> list[Record]:
        """Return the entries that `data` completes. Raises `NotAnExport`."""
        found: list[Record] = []
        data, position = self._rest + data, 0
        self._rest = b""
        while position < len(data):
            before = position
            if self._to_come:
                position = self._take_counted(data, position)
            elif self._in_line:
                position = self._take_line(data, position)
            else:
                position = self._take_field(data, position, found)
            if position == before:
                self._rest = data[position:]
                break
        return found

    def _take_field(self, data: bytes, position: int, found: list[Record]) -> int:
        """Take the field or the end of an entry at `position`, if it is there whole; return what follows it."""
        end = data.find(b"\n", position)
        if end == position:
            if self._fields:
                found.append(Record(self._fields, self._messages, self._truncated))
                self._begin()
            return end + 1
        equals = data.find(b"=", position, end if end >= 0 else position + _NAME_LIMIT + 1)
        if equals >= 0:
            if end >= 0:
                self._add(data[position:equals], data[equals + 1 : end])
                return end + 1
            self._start(data[position:equals])
            self._in_line = True
            return equals + 1
        if end < 0:
            if len(data) - position > _NAME_LIMIT:
                raise NotAnExport
            return position
        begin = end + 1 + _LENGTH_SIZE
        if len(data) < begin:
            return position
        self._start(data[position:end])
        self._to_come = int.from_bytes(data[end + 1 : begin], "little") + 1  # and the newline after it
        return begin

    def _take_counted(self, data: bytes, position: int) -> int:
        end = min(len(data), position + self._to_come)
        self._to_come -= end - position
        self._keep(data[position : end if self._to_come else end - 1])
        if not self._to_come:
            self._finish()
        return end

    def _take_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            self._keep(data[position:])
            return len(data)
        self._keep(data[position:end])
        self._in_line = False
        self._finish()
        return end + 1

    def _start(self, name: bytes) -> None:
        self._name, self._kept = name, b""

    def _keep(self, piece: bytes) -> None:
        # One byte over the limit shows that there was more.
        limit = MESSAGE_LIMIT if self._name == _MESSAGE else FIELD_LIMIT
        room = limit + 1 - len(self._kept)
        if room > 0:
            self._kept += piece[:room]

    def _finish(self) -> None:
        self._add(self._name, self._kept)
        self._kept = b""

    def _add(self, name: bytes, value: bytes) -> None:
        if name == _MESSAGE:
            room = MESSAGE_LIMIT - self._message_size
            if len(value) > room:
                self._truncated = True
                value = value[:room]
            self._message_size += len(value)
            if value or not self._messages:
                self._messages.append(value)
        elif name not in self._fields:
            self._fields[name] = value[:FIELD_LIMIT]

    def _begin(self) -> None:
        """Begin an entry."""
        self._fields: dict[bytes, bytes] = {}
        self._messages: list[bytes] = []
        self._message_size = 0
        self._truncated = False
