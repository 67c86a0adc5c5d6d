"""Route netlink (netlink(7), rtnetlink(7)): requests to the kernel and its answers.

pyroute2 speaks it too, but importing any part of that imports all of it, asyncio included: 24 MB and 0.1 s for a server
that rests at 65 MB, and then 100 µs to decode a message. What is needed is a header and attributes of type, length and
value, all of it stable ABI of the kernel; the tests hold our messages against pyroute2's. Requests rather than ip(8) as
a process: the answer is an error number and not a text, and nothing has to be installed.

Everything here blocks, if mostly for microseconds (the kernel answers within the system call, once it has its lock):
call it in a thread. Only the standard library is used, for the program that undoes changes stands on this alone.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26

REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
"""Flags of requests that make something: replace what is there, fail when it is there, make it when it is not."""

_REQUEST, _ACKNOWLEDGE, _DUMP = 0x1, 0x4, 0x300
_INTERRUPTED = 0x10  # of a dump's message: the tables changed while they were read
_CAPPED, _WITH_ATTRIBUTES = 0x100, 0x200  # of an error's message
_ERROR, _DONE = 2, 3
_ERROR_TEXT = 1
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _STRICT = 10, 11, 12  # options; kernels before 4.12 and 4.20 know not all of them
_SECONDS = 10.0
_LIMIT = 1 << 16  # the kernel makes the messages of a dump half as long at the most
_ATTEMPTS = 3

_AS_WANTED = frozenset({errno.EADDRNOTAVAIL, errno.EEXIST, errno.ENODEV, errno.ENOENT, errno.ESRCH})

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_TYPE_MASK = 0x3FFF
_NESTED = 0x8000


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel: its type, its fixed part with the attributes, and flags."""

    kind: int
    payload: bytes
    flags: int = 0


class KernelRefusal(Exception):
    """The kernel will not do it: the error number, and its own words where it has some (netlink extended acks)."""

    def __init__(self, number: int, words: str = "") -> None:
        super().__init__(f"{os.strerror(number)} ({words})" if words else os.strerror(number))
        self.number = number
        self.words = words


class Netlink:
    """A socket for a few requests, one at a time; `with` closes it. Each method raises OSError, `TimeoutError` too."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        self._socket.settimeout(_SECONDS)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *details: object) -> None:
        self._socket.close()

    def change(self, request: Request) -> None:
        """Have something changed. Raises `KernelRefusal`."""
        self._send(request, _ACKNOWLEDGE)
        for _ in self._messages():
            pass

    def change_together(self, requests: Sequence[Request]) -> list[KernelRefusal | None]:
        """Have several things changed, in order, in one system call: not even the end of this process comes between.

        One that is refused does not keep the kernel from the next; the answers are in the order of the requests.
        """
        first = self._sequence + 1
        self._socket.sendto(b"".join(self._message(request, _ACKNOWLEDGE) for request in requests), (0, 0))
        answers: list[KernelRefusal | None] = []
        for self._sequence in range(first, first + len(requests)):
            try:
                for _ in self._messages():
                    pass
            except KernelRefusal as refusal:
                answers.append(refusal)
            else:
                answers.append(None)
        return answers

    def get(self, request: Request) -> bytes:
        """Ask for one thing; the fixed part and attributes of the answer. Raises `KernelRefusal`."""
        self._send(request, _ACKNOWLEDGE)
        answers = [payload for payload, _ in self._messages()]
        if not answers:
            raise OSError("the kernel gave no answer")
        return answers[0]

    def dump(self, request: Request) -> list[bytes]:
        """Ask for all there is of a kind. Raises `KernelRefusal`.

        A table that changes while it is read is read again; when it does not come to rest, the last reading is it.
        """
        found: list[bytes] = []
        for _ in range(_ATTEMPTS):
            self._send(request, _DUMP)
            messages = list(self._messages())
            found = [payload for payload, _ in messages]
            if not any(flags & _INTERRUPTED for _, flags in messages):
                break
        return found

    def _send(self, request: Request, flags: int) -> None:
        self._socket.sendto(self._message(request, flags), (0, 0))

    def _message(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(request.payload)
        header = _HEADER.pack(length, request.kind, request.flags | flags | _REQUEST, self._sequence, 0)
        return header + request.payload + bytes(-length % 4)

    def _messages(self) -> Iterator[tuple[bytes, int]]:
        """The messages of the answer, until the one that ends it. Raises `KernelRefusal` when that is an error."""
        while True:
            data, (port, _) = self._socket.recvfrom(_LIMIT)
            if port != 0:
                continue  # not from the kernel
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                payload = data[offset + _HEADER.size : offset + length]
                offset += (max(length, _HEADER.size) + 3) & ~3
                if sequence != self._sequence:
                    continue  # what is left of an answer that was given up
                if kind in (_ERROR, _DONE):
                    _raise_refusal(payload, kind, flags)
                    return
                yield payload, flags


def _raise_refusal(payload: bytes, kind: int, flags: int) -> None:
    number = -_NUMBER.unpack_from(payload)[0] if payload else 0
    if number <= 0:
        return
    words = b""
    if flags & _WITH_ATTRIBUTES:
        begin = _NUMBER.size
        if kind == _ERROR:  # the request stands before the attributes, or its header alone
            begin += _HEADER.size if flags & _CAPPED else (_HEADER.unpack_from(payload, begin)[0] + 3) & ~3
        words = attributes(payload, begin).get(_ERROR_TEXT, b"")
    raise KernelRefusal(number, words.rstrip(b"\0").decode("utf-8", "replace"))


def ensure(net: Netlink, requests: Sequence[Request]) -> list[str]:
    """Have made what is missing and removed what is there, all of it; return in words what failed. Raises OSError."""
    failures = []
    for request in requests:
        try:
            net.change(request)
        except KernelRefusal as refusal:
            if refusal.number not in _AS_WANTED:
                failures.append(str(refusal))
    return failures


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(inner))


def number(kind: int, value: int) -> bytes:
    """An attribute that holds an unsigned number of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a text, which the kernel wants to end with NUL."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Take the attributes from `offset` on apart; the last of each type counts."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def number_in(value: bytes | None, default: int = 0) -> int:
    """The unsigned number that an attribute of 1 to 8 bytes holds; `default` where there is no such attribute."""
    return default if value is None else int.from_bytes(value, byteorder="little" if _LITTLE else "big")


_LITTLE = struct.pack("=H", 1) == b"\1\0"
