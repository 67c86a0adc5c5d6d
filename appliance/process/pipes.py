"""Pipes to a child on the reactor: fed and read without blocking, never buffered beyond what is asked for.

For children that are not started by Twisted, see `spawn`. A pipe is one descriptor here; whoever makes these objects
owns them and closes them, and each stops by itself at the end of its pipe.
"""

import array
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.descriptors import duplicate_above
from appliance.process.reactor import ProcessReactor

_CHUNK = 1 << 16
_LOWEST = 8  # above all numbers that a child's descriptors get


@dataclass(frozen=True, slots=True)
class Ends:
    """A new pipe: `ours` does not block, `theirs` does; both are closed on exec and lie above all standard numbers."""

    ours: int
    theirs: int


def pipe_to_child() -> Ends:
    """A pipe that a child reads. Raises `OSError`."""
    theirs, ours = _pipe()
    return Ends(ours, theirs)


def pipe_from_child() -> Ends:
    """A pipe that a child writes. Raises `OSError`."""
    ours, theirs = _pipe()
    return Ends(ours, theirs)


def _pipe() -> tuple[int, int]:
    source, target = os.pipe()
    if source < _LOWEST or target < _LOWEST:
        source, target = _lifted(source, target)
    return source, target


def _lifted(*low: int) -> tuple[int, int]:
    lifted: list[int] = []
    try:
        lifted.extend(duplicate_above(number, _LOWEST) for number in low)
    except OSError:
        for number in lifted:
            os.close(number)
        raise
    finally:
        for number in low:
            os.close(number)
    return lifted[0], lifted[1]


@implementer(IReadDescriptor)
class Intake:
    """
    Reads a pipe: `receive` gets each piece, `ended` is called once when nobody can write any more.

    Neither is called after `close`.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        descriptor: int,
        receive: Callable[[bytes], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin; `descriptor` is this object's from now on."""
        os.set_blocking(descriptor, False)
        self._reactor = reactor
        self._descriptor = descriptor
        self._receive = receive
        self._ended = ended
        reactor.addReader(self)

    @property
    def closed(self) -> bool:
        """Whether it has ended or was closed."""
        return self._descriptor < 0

    def read_rest(self) -> None:
        """Receive at once what lies in the pipe now, and no more: others may be writing on."""
        waiting = array.array("i", [0])
        if self.closed:
            return
        fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and not self.closed:
            left -= self._read(min(left, _CHUNK)) or left

    def release(self) -> int:
        """Stop reading and return the descriptor, which is the caller's now; -1 where it has ended."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Stop reading and close the pipe: who still writes gets EPIPE."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    # What the reactor calls

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pipe"

    def doRead(self) -> None:
        # A second read mostly finds the end of the pipe, and saves a turn of the reactor.
        if 0 < self._read(_CHUNK) < _CHUNK and not self.closed:
            self._read(_CHUNK)

    def connectionLost(self, reason: Failure) -> None:
        if not self.closed:
            self.close()
            self._ended()

    def _read(self, most: int) -> int:
        """Read once; return the number of bytes, 0 for nothing or the end."""
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._receive(data)
        else:
            self.close()
            self._ended()
        return len(data)


@implementer(IWriteDescriptor)
class Feed:
    """Writes `data` to a pipe as fast as it is read, then closes it."""

    def __init__(self, reactor: ProcessReactor, descriptor: int, data: bytes) -> None:
        """Begin; `descriptor` is this object's from now on."""
        os.set_blocking(descriptor, False)
        self._reactor = reactor
        self._descriptor = descriptor
        self._rest = memoryview(data)
        self._waiting = False
        self.doWrite()

    def close(self) -> None:
        """Write no more: the reader sees the end."""
        if self._descriptor >= 0:
            if self._waiting:
                self._reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self._rest = memoryview(b"")

    # What the reactor calls

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pipe"

    def doWrite(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]
        except BlockingIOError:
            if not self._waiting:
                self._waiting = True
                self._reactor.addWriter(self)
        except OSError as error:
            self.close()  # EPIPE: nobody reads what is left, and need not
            if error.errno != errno.EPIPE:
                raise
        else:
            self.close()

    def connectionLost(self, reason: Failure) -> None:
        self.close()
