"""What takes journalctl's output as it comes off the pipe."""

from collections.abc import Callable

from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

CURSOR_OUTPUT = ("--output=export", "--output-fields=_BOOT_ID")
"""The options for `Cursors`: of the formats that show a cursor the cheapest to print, 250 bytes an entry."""

_RECORD_LIMIT = 1 << 16


class NotAnExport(Exception):
    """The output is not in the Journal Export Format."""


@implementer(IConsumer)
class Consumer:
    """A consumer that can have enough."""

    def __init__(self) -> None:
        self.enough = False
        self._producer: IProducer | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Take no more, which ends the program."""
        self.enough = True
        if self._producer is not None:
            self._producer.stopProducing()


class Cursors(Consumer):
    """
    Calls `found` with the cursor of each entry, in the order in which they come.

    Stops at the first one that was received before `since` (microseconds since 1970); its cursor is `stopped_at`.
    """

    def __init__(self, found: Callable[[bytes], None], since: int | None = None) -> None:
        super().__init__()
        self._found = found
        self._since = since
        self.stopped_at = b""
        self._rest = b""

    def write(self, data: bytes) -> None:
        *records, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > _RECORD_LIMIT:
            raise NotAnExport
        for record in records:
            if self._since is not None and int(_field(record, b"__REALTIME_TIMESTAMP=")) < self._since:
                self.stopped_at = _field(record, b"__CURSOR=")
                self.stop()
                return
            self._found(_field(record, b"__CURSOR="))


def _field(record: bytes, name: bytes) -> bytes:
    _, found, rest = record.partition(name)
    if not found:
        raise NotAnExport
    return rest.partition(b"\n")[0]


class Lines(Consumer):
    """Collects lines after the first `skip`; with more than `limit` bytes of them it has enough."""

    def __init__(self, skip: int, limit: int) -> None:
        super().__init__()
        self._skip = skip
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        begin = 0
        while self._skip:
            begin = data.find(b"\n", begin) + 1
            if not begin:
                return
            self._skip -= 1
        self._pieces.append(data[begin:])
        self._size += len(data) - begin
        if self._size > self._limit:
            self._pieces.clear()
            self.stop()

    def content(self) -> bytes:
        """What was collected."""
        return b"".join(self._pieces)
