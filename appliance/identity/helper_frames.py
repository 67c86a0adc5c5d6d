"""
What the server and its password helper say to each other: frames of a length (32 bits) and that many bytes.

Requests are `number, length of name, of address, of password (32, 16, 16, 16 bits), name, address, password`;
replies are `number, outcome (32, 8 bits), reason`; all in network byte order, text in UTF-8. A reply with number 0 is
the helper's greeting. Standard library only: the helper imports this.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

MAX_PASSWORD = 1024
MAX_NAME = 64
MAX_ADDRESS = 64
MAX_REASON = 256

_LENGTH = struct.Struct("!I")
_REQUEST = struct.Struct("!IHHH")
_REPLY = struct.Struct("!IB")

MAX_FRAME = _REQUEST.size + MAX_NAME + MAX_ADDRESS + MAX_PASSWORD
GREETING = 0


class ProtocolError(Exception):
    """The other side sent what is no frame, or one that is too long. The text holds nothing of it."""


class Outcome(IntEnum):
    """How a check ended; the `READY` ones are greetings, and say how passwords are checked."""

    ACCEPTED = 1
    REFUSED = 2
    EXPIRED = 3
    """Right, but the account or the password has expired, or a new one is required."""
    UNASKED = 4
    """Accepted without the password having been asked for: whoever accepts that accepts anything."""
    UNAVAILABLE = 5
    READY_PAM = 6
    READY_SU = 7


@dataclass(slots=True)
class Request:
    """One check. The password does not show in `repr`; `wipe` it when done."""

    number: int
    name: str
    address: str
    password: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the password."""
        wipe(self.password)


@dataclass(frozen=True, slots=True)
class Reply:
    """One result. `reason` is for the log."""

    number: int
    outcome: Outcome
    reason: str


class Frames:
    """Cuts what comes in into frames, in a buffer of fixed size, overwritten where it has been taken from."""

    def __init__(self) -> None:
        self._buffer = bytearray(_LENGTH.size + MAX_FRAME)
        self._filled = 0

    def room(self) -> memoryview:
        """Where to read to; `filled` says how much there is now. Never empty once `take` returned None."""
        return memoryview(self._buffer)[self._filled :]

    def filled(self, count: int) -> None:
        """`count` bytes were put into `room`."""
        self._filled += count

    def take(self) -> bytearray | None:
        """The next whole frame's content, or None. Raises `ProtocolError` when its length is not allowed."""
        if self._filled < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if not 0 < length <= MAX_FRAME:
            raise ProtocolError("a frame of a forbidden length")
        end = _LENGTH.size + length
        if self._filled < end:
            return None
        content = self._buffer[_LENGTH.size : end]
        left = self._filled - end
        with memoryview(self._buffer) as view:
            view[:left] = view[end : self._filled]
            view[left : self._filled] = bytes(end)
        self._filled = left
        return content


def frame(content: bytes) -> bytes:
    """`content` as it goes through the pipe."""
    return _LENGTH.pack(len(content)) + content


def encode_request(request: Request) -> bytes:
    """The content of the frame of `request`. Raises `ProtocolError` when a field is too long."""
    name, address = request.name.encode(), request.address.encode()
    lengths = len(name), len(address), len(request.password)
    if any(length > limit for length, limit in zip(lengths, (MAX_NAME, MAX_ADDRESS, MAX_PASSWORD), strict=True)):
        raise ProtocolError("a request with a field that is too long")
    return b"".join([_REQUEST.pack(request.number, *lengths), name, address, request.password])


def decode_request(content: bytearray) -> Request:
    """The request in `content`, which is overwritten. Raises `ProtocolError`."""
    try:
        number, *lengths = _REQUEST.unpack_from(content)
        if _REQUEST.size + sum(lengths) != len(content):
            raise ProtocolError("a request whose lengths do not add up")
        middle = _REQUEST.size + lengths[0]
        end = middle + lengths[1]
        name, address = content[_REQUEST.size : middle].decode(), content[middle:end].decode()
        return Request(number, name, address, content[end:])
    except (struct.error, UnicodeDecodeError):
        raise ProtocolError("a request that cannot be decoded") from None
    finally:
        wipe(content)


def encode_reply(reply: Reply) -> bytes:
    """The content of the frame of `reply`, its reason cut to what is allowed."""
    return _REPLY.pack(reply.number, reply.outcome) + reply.reason.encode(errors="replace")[:MAX_REASON]


def decode_reply(content: bytes | bytearray) -> Reply:
    """The reply in `content`. Raises `ProtocolError`."""
    try:
        number, outcome = _REPLY.unpack_from(content)
        return Reply(number, Outcome(outcome), content[_REPLY.size :].decode(errors="replace"))
    except (struct.error, ValueError):
        raise ProtocolError("a reply that cannot be decoded") from None


def wipe(buffer: bytearray) -> None:
    """Overwrite `buffer` where it lies."""
    buffer[:] = bytes(len(buffer))
