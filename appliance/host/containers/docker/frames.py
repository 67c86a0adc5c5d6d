"""Output of a container that has no terminal: standard output and error in frames, taken apart as it comes.

A frame is the number of the stream, three bytes 0, the length in four bytes, and so many bytes (Engine API, "Attach to
a container", stream format).
"""

from collections.abc import Iterator

from appliance.host.containers.errors import EngineError
from appliance.host.outgoing.words import shown

STDOUT, STDERR = 1, 2
_SYSTEM_ERROR = 3
_STREAMS = frozenset((0, STDOUT, STDERR, _SYSTEM_ERROR))
_HEADER = 8
_ERROR_LIMIT = 4096


class Frames:
    """Turns bytes into pieces of streams. Raises `EngineError` for bytes in no frame, and for an error in a frame."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0
        self._error = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The pieces in `data`: the number of the stream, and what was written to it."""
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                header = self._header + data[at : at + _HEADER - len(self._header)]
                at += len(header) - len(self._header)
                if len(header) < _HEADER:
                    self._header = header
                    return
                self._header = b""
                self._begin(header)
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if self._stream == _SYSTEM_ERROR:
                self._error += piece[: _ERROR_LIMIT - len(self._error)]
                if not self._left:
                    raise EngineError(f"Docker: {shown(self._error.decode('utf-8', 'replace'))}")
            else:
                yield self._stream, piece

    def finish(self) -> None:
        """The end: raises `EngineError` in the middle of a frame."""
        if self._header or self._left:
            raise EngineError("Docker broke off in the middle of a container's output")

    def _begin(self, header: bytes) -> None:
        self._stream = header[0]
        if self._stream not in _STREAMS or header[1:4] != b"\0\0\0":
            raise EngineError("Docker sent a container's output in a form that is not known")
        self._left = int.from_bytes(header[4:], "big")
