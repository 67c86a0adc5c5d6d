"""The answer to a request for a WebSocket, up to the moment when it is one: a 101, or a refusal with its body."""

import re

_HEAD_LIMIT = 64 * 1024
_BODY_LIMIT = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]{1,9})\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding: *chunked\r\n", re.IGNORECASE)
_SWITCHING = 101


class NotHttp(Exception):
    """What came is no answer."""


class UpgradeAnswer:
    """Collects an answer. `status` is None until its head is complete."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._data = bytearray()
        self._body_at = 0
        self._length: int | None = None
        self._is_chunked = False

    @property
    def is_accepted(self) -> bool:
        """Whether the connection is a WebSocket now."""
        return self.status == _SWITCHING

    def feed(self, data: bytes) -> bool:
        """Take what has come; True once no more is needed. Raises `NotHttp`."""
        self._data += data
        if self.status is None:
            self._read_head()
        if self.status is None or self.is_accepted:
            return self.is_accepted
        size = len(self._data) - self._body_at
        if self._length is not None:
            return size >= min(self._length, _BODY_LIMIT)
        return size >= _BODY_LIMIT or (self._is_chunked and self._data.endswith(b"\r\n0\r\n\r\n"))

    @property
    def whole(self) -> bytes:
        """All that has come."""
        return bytes(self._data)

    @property
    def body(self) -> bytes:
        """The body of a refusal, as far as it has come."""
        body = bytes(self._data[self._body_at :])
        return _joined(body) if self._is_chunked else body[: self._length]

    def _read_head(self) -> None:
        head, blank, _ = bytes(self._data).partition(b"\r\n\r\n")
        found = _STATUS.match(head)
        if len(head) > _HEAD_LIMIT or (blank and found is None):
            raise NotHttp
        if blank and found is not None:
            self.status = int(found[1])
            self._body_at = len(head) + len(blank)
            length = _LENGTH.search(head + b"\r\n")
            self._length = int(length[1]) if length is not None else None
            self._is_chunked = _CHUNKED.search(head + b"\r\n") is not None


def _joined(chunks: bytes) -> bytes:
    """The content of chunks (RFC 9112 section 7.1), up to what is none."""
    content = b""
    while True:
        line, end, rest = chunks.partition(b"\r\n")
        digits = line.partition(b";")[0].strip()
        if not end or re.fullmatch(rb"[0-9a-fA-F]{1,8}", digits) is None or not int(digits, 16):
            return content
        size = int(digits, 16)
        content += rest[:size]
        chunks = rest[size + 2 :]
