"""The form in which runtimes write the logs of containers: `TIME STREAM TAG TEXT`, a line each.

`TIME` is RFC 3339 with nanoseconds, `STREAM` is `stdout` or `stderr`, `TAG` is `P` for a line of which more follows and
`F` for its end, perhaps with further tags behind a colon (Kubernetes, "CRI: Log Management for Container Stdout/Stderr
Streams"). What was written without a newline at its end is a last `P`.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from appliance.host.containers.model import LogOptions

HEAD_LIMIT = 128
"""Bytes that hold whatever stands before the text."""
HELD_LIMIT = 1 << 20
"""Bytes of one line that are held until its end is there; a longer one is passed on in parts."""

_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_HEAD = re.compile(rb"(%b) (stdout|stderr) ([PF])(?::[^ \n]{0,64})?(?: |(?=\n)|\Z)" % _TIME)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the text, which begins at `text`; `ends` says that the line ends with it."""

    time: bytes
    stream: bytes
    ends: bool
    text: int

    def seconds(self) -> float | None:
        """The time, in seconds since 1970; None where there is no such time."""
        try:
            return datetime.fromisoformat(self.time.decode()).timestamp()
        except ValueError:
            return None


def head(data: bytes | bytearray, begin: int) -> Head | None:
    """The head that begins there, if one does."""
    found = _HEAD.match(data, begin)
    return None if found is None else Head(found[1], found[2], found[3] == b"F", found.end())


class Selection:
    """Which of the lines are wanted, by their streams and times."""

    def __init__(self, options: LogOptions) -> None:
        pairs = ((b"stdout", options.stdout), (b"stderr", options.stderr))
        self.streams = frozenset(name for name, wanted in pairs if wanted)
        self._since = options.since
        self._until = options.until

    def within(self, found: Head) -> bool:
        """Whether it was written in the time that is asked for."""
        if self._since is None and self._until is None:
            return True
        at = found.seconds()
        if at is None:
            return False
        return (self._since is None or at >= self._since) and (self._until is None or at <= self._until)

    def is_too_old(self, found: Head) -> bool:
        """Whether it was written before that time."""
        at = found.seconds()
        return self._since is not None and at is not None and at < self._since


@dataclass(slots=True)
class _Line:
    """A line that has begun: when, what of it is held, and whether its beginning was passed on."""

    time: bytes
    held: bytearray
    begun: bool = False
    last: Head | None = None
    last_at: int = 0


class LogLines:
    """Turns what a file holds from `begin` on into text: the lines that are selected, each in one piece.

    Lines whose last part begins before `first` are left out, and so is what is not in this form at all: whoever can
    put another file in the place of a log shall not have it read to him.
    """

    def __init__(self, selection: Selection, *, timestamps: bool, begin: int = 0, first: int = 0) -> None:
        self._selection = selection
        self._timestamps = timestamps
        self._at = begin  # of `_rest` in the file
        self._first = first
        self._rest = bytearray()
        self._lines: dict[bytes, _Line] = {}
        self._inside = False  # whether `_rest` goes on with a part that is a very long one
        self._head: Head | None = None  # of that part, where it has one

    def restart(self) -> None:
        """Go on with another file, from its beginning. A line may have begun in the last one."""
        self._at = self._first = 0
        self._rest.clear()
        self._inside = False
        for line in self._lines.values():
            line.last_at = 0

    def feed(self, data: bytes) -> bytes:
        """The text that `data` completes."""
        self._rest += data
        output: list[bytes] = []
        begin = 0
        while (end := self._rest.find(b"\n", begin)) >= 0:
            self._part(begin, end, output, whole=True)
            begin = end + 1
        self._drop(begin)
        if len(self._rest) > HELD_LIMIT:
            self._part(0, len(self._rest), output, whole=False)
            self._drop(len(self._rest))
        return b"".join(output)

    def finish(self) -> bytes:
        """The text that is held at the end: lines that have none."""
        output: list[bytes] = []
        if self._rest:
            self._part(0, len(self._rest), output, whole=False)
            self._drop(len(self._rest))
        for line in self._lines.values():
            self._put(line, output)
        self._lines.clear()
        return b"".join(output)

    def _drop(self, size: int) -> None:
        del self._rest[:size]
        self._at += size

    def _part(self, begin: int, end: int, output: list[bytes], *, whole: bool) -> None:
        """Take the part that stands there in `_rest`; of one that is not `whole`, more follows."""
        inside = self._inside
        found = self._head if inside else head(self._rest, begin)
        self._inside, self._head = not whole, found
        if found is None or found.stream not in self._selection.streams:
            return
        line = self._lines.get(found.stream)
        if line is None:
            line = self._lines[found.stream] = _Line(found.time, bytearray())
        line.held += self._rest[begin if inside else found.text : end]
        line.last = found
        if not inside:
            line.last_at = self._at + begin
        if whole and found.ends:
            line.held += b"\n"
            self._put(line, output)
            del self._lines[found.stream]
        elif len(line.held) > HELD_LIMIT:
            self._put(line, output)

    def _put(self, line: _Line, output: list[bytes]) -> None:
        """Pass on what is held of a line, or forget it."""
        if line.held and line.last is not None and line.last_at >= self._first and self._selection.within(line.last):
            if self._timestamps and not line.begun:
                output += (line.time, b" ")
            output.append(bytes(line.held))
            line.begun = True
        line.held.clear()
