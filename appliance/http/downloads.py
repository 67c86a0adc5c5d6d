"""Files on their way out: read in a thread, a block at a time, as fast as the client takes them."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from appliance.http.errors import not_found
from appliance.threads import Threads

BLOCK = 256 * 1024


class Connection(Protocol):
    """What a transport offers a producer."""

    def write(self, data: bytes) -> object:
        """Send bytes."""


class Consumer(Protocol):
    """The request a file is sent to."""

    @property
    def transport(self) -> Connection:
        """Where the bytes go."""

    def registerProducer(self, producer: object, streaming: bool) -> object:
        """Let the client's pace reach the producer."""

    def unregisterProducer(self) -> object:
        """End that."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file, never through a link. Raises a 404 where there is none. Blocking."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise not_found() from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise not_found()
    return os.fdopen(file, "rb", buffering=0)


@implementer(IPushProducer)
class FileSender:
    """Sends `size` bytes of `file`; stops early where the file ends or the client goes."""

    def __init__(self, threads: Threads, file: BinaryIO, size: int) -> None:
        self._threads = threads
        self._file = file
        self._left = size
        self._resumed: Deferred[None] | None = None
        self._paused = False
        self._stopped = False

    async def send_to(self, request: Consumer) -> int:
        """Send, and return the number of bytes that were handed to the connection."""
        transport = request.transport
        request.registerProducer(self, True)
        sent = 0
        try:
            while self._left and not self._stopped:
                if self._paused:
                    self._resumed = Deferred()
                    await self._resumed
                    continue
                block = await self._threads.run(self._file.read, min(BLOCK, self._left))
                if not block or self._stopped:
                    break
                self._left -= len(block)
                sent += len(block)
                transport.write(block)
        finally:
            if not self._stopped:
                request.unregisterProducer()
        return sent

    def pauseProducing(self) -> None:
        """The client is slower than the disk."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)
