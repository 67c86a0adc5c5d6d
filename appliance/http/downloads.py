"""Files on their way out: read in a thread, a block at a time, as fast as the client takes them."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from appliance.http.errors import not_found
from appliance.http.streams import Consumer, Paced
from appliance.threads import Threads

BLOCK = 256 * 1024


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


class FileSender(Paced):
    """Sends `size` bytes of `file`; stops early where the file ends or the client goes."""

    def __init__(self, threads: Threads, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._threads = threads
        self._file = file
        self._left = size

    async def send_to(self, request: Consumer) -> int:
        """Send, and return the number of bytes that were handed to the connection."""
        transport = request.transport
        request.registerProducer(self, True)
        sent = 0
        try:
            while self._left and await self.room():
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
