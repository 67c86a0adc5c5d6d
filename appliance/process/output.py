"""Bounded memory for what a process prints."""


class Head:
    """The first `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self.dropped = False

    def add(self, data: bytes) -> None:
        room = self._limit - self._size
        if len(data) > room:
            self.dropped = True
            data = data[:room]
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def content(self) -> bytes:
        return b"".join(self._pieces)


class Tail:
    """The last `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self.dropped = False

    def add(self, data: bytes) -> None:
        self._bytes += data
        if len(self._bytes) > 2 * self._limit:  # cut rarely: each cut moves all that stays
            self._cut()

    def content(self) -> bytes:
        self._cut()
        return bytes(self._bytes)

    def _cut(self) -> None:
        excess = len(self._bytes) - self._limit
        if excess > 0:
            del self._bytes[:excess]
            self.dropped = True
