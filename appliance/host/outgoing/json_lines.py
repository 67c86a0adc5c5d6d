"""JSON values one a line, as they are streamed."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from appliance.host.outgoing.peer import UNREADABLE, Peer

T = TypeVar("T")


class JsonLines(Generic[T]):
    """Takes a stream of values of one type apart. What is none, or longer than `limit` bytes, raises the
    `peer`'s error."""

    def __init__(self, type: type[T], limit: int, peer: Peer) -> None:
        self._decode = msgspec.json.Decoder(type).decode
        self._limit = limit
        self._peer = peer
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[T]:
        """The values that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit:
            raise self._peer.error(f"{self._peer.name} sent a line that is too long")
        for line in lines:
            if line.strip():
                yield self._value(line)

    def finish(self) -> Iterator[T]:
        """What came last, without a line's end."""
        rest, self._rest = self._rest, b""
        if rest.strip():
            yield self._value(rest)

    def _value(self, line: bytes) -> T:
        try:
            return self._decode(line)
        except UNREADABLE as error:
            raise self._peer.is_unintelligible(error) from error
