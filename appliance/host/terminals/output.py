"""What a terminal prints, on its way to whoever looks: held while he is slow, decoded, numbered, kept a while."""

import codecs
from collections import deque
from typing import NamedTuple

PIECE = 1 << 15
"""Bytes that are shown in one piece."""

KEPT = 1 << 17
"""Characters of what was shown last that can be shown again."""


class Piece(NamedTuple):
    """A part of the output. The numbers of a terminal's pieces begin with 1 and have no gaps."""

    number: int
    text: str


class Output:
    """
    The output of one terminal, in order. How much of it is held is for its owner to bound, by pausing the program.

    It is taken as UTF-8, a character that is not complete waits for the rest of it; what is not UTF-8 becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._number = 0
        self._shown: deque[Piece] = deque()
        self._shown_size = 0
        self._again: deque[Piece] = deque()

    @property
    def held(self) -> int:
        """Bytes that wait to be shown."""
        return len(self._held)

    def add(self, data: bytes) -> None:
        """Take what was printed."""
        self._held += data

    def next(self, *, ended: bool) -> Piece | None:
        """The next piece to be shown, None where there is none. `ended`: nothing will be added any more."""
        if self._again:
            return self._again.popleft()
        while self._held:
            data = bytes(self._held[:PIECE])
            del self._held[:PIECE]
            text = self._decoder.decode(data)
            if text:
                return self._show(text)
        rest = self._decoder.decode(b"", final=True) if ended else ""
        return self._show(rest) if rest else None

    def go_back(self, after: int) -> bool:
        """Show again what came after piece `after`. Whether that is all there: False where some of it is lost."""
        self._again = deque(piece for piece in self._shown if piece.number > after)
        first = self._again[0].number if self._again else self._number + 1
        return first <= after + 1

    def _show(self, text: str) -> Piece:
        self._number += 1
        piece = Piece(self._number, text)
        self._shown.append(piece)
        self._shown_size += len(text)
        while self._shown_size > KEPT:
            self._shown_size -= len(self._shown.popleft().text)
        return piece
