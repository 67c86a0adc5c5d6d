"""Uploaded files: written and hashed in a thread while they arrive, with back-pressure on the sender."""

import fcntl
import hashlib
import os
import secrets
from pathlib import Path
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.http.call import Call
from appliance.http.errors import HttpError, insufficient_storage, is_disk_full, not_found, too_large
from appliance.threads import Threads

BLOCK = 512 * 1024
HIGH_WATER = 2 * BLOCK
FREE_SPACE_MARGIN = 16 * 1024 * 1024
TEMPORARY_PREFIX = ".upload-"


class Flow(Protocol):
    """The sender's side of a stream."""

    def pause(self) -> None:
        """Ask for no more data for now."""

    def resume(self) -> None:
        """Ask for more data again; each call ends one `pause`."""


class Part:
    """A small part of a form, held in memory."""

    __slots__ = ("content", "filename")

    def __init__(self, content: bytes, filename: str | None) -> None:
        self.content = content
        self.filename = filename


class Upload:
    """A received file: where it lies, its `size` in bytes and its `sha256` in hex.

    It is deleted at the end of the request unless the handler has called `take`.
    """

    __slots__ = ("filename", "path", "sha256", "size", "taken")

    def __init__(self, path: Path, size: int, sha256: str, filename: str | None) -> None:
        self.path = path
        self.size = size
        self.sha256 = sha256
        self.filename = filename
        self.taken = False

    def take(self, destination: Path) -> None:
        """Move the file to `destination` on the same file system, replacing what is there. Blocking."""
        os.rename(self.path, destination)
        self.taken = True

    def discard(self) -> None:
        """Delete the file unless it has been taken. Blocking."""
        if not self.taken:
            self.path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what a server that was killed left of unfinished uploads in `folder`. Blocking."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


class AppendTo(NamedTuple):
    """A file that a body is appended to, and the size in bytes it must have for that; a `new` one is made first."""

    path: Path
    offset: int
    new: bool = False


class FileSink:
    """Takes one file's bytes as they come and hands them in blocks to a thread that hashes and writes them.

    `expected` is what the client announced (None for chunked bodies); room for it is asked for at the start. No
    fsync: an uploaded file is a parcel for a script, worth nothing once the machine has lost power under it.
    With `append_to` the bytes go to the end of that file, which nobody else can append to until `keep` or `abort`.
    Raises 404 where that file is gone, 409 where another request appends to it, 413 beyond `limit` bytes and 507 where
    the disk has no room.
    """

    _log = Logger()

    def __init__(
        self,
        threads: Threads,
        flow: Flow,
        folder: Path,
        filename: str | None,
        expected: int | None,
        limit: int,
        append_to: AppendTo | None = None,
    ) -> None:
        self._threads = threads
        self._flow = flow
        self._filename = filename
        self._limit = limit
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._paused = False
        self._ended = False
        self._failure: HttpError | None = None
        self._working = False
        self._idle: Deferred[None] | None = None
        self._hash = hashlib.sha256()
        if expected is not None and not _has_room(folder, expected):
            raise insufficient_storage()
        self._append_to = append_to or AppendTo(folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(12)}", 0, new=True)
        self._path = self._append_to.path
        how = os.O_CREAT | os.O_EXCL if self._append_to.new else os.O_APPEND | os.O_NOFOLLOW
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | how, 0o600)
        except FileNotFoundError:
            raise not_found() from None
        self._size = os.fstat(self._file).st_size
        if append_to is not None:
            self._take_turn(append_to.offset)

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises what the writing thread met since the last call."""
        if self._failure is not None:
            raise self._failure
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= BLOCK and not self._working:
            self._start_writing()
        elif self._pending_size >= HIGH_WATER and not self._paused:
            self._paused = True
            self._flow.pause()

    async def finish(self) -> Upload:
        """Wait until everything is written and return the file. Raises what writing raised."""
        await self.written()
        self._close()
        return Upload(self._path, self._size, self._hash.hexdigest(), self._filename)

    async def written(self) -> None:
        """Wait until everything is written. Raises what writing raised."""
        await self._write_rest()
        if self._failure is not None:
            raise self._failure

    async def keep(self) -> None:
        """Write what came, as far as that is possible, and let others append."""
        await self._write_rest()
        self._close()

    async def abort(self) -> None:
        """Undo what was written: delete the file, or give the one that was appended to its size back."""
        self._ended = True
        self._pending.clear()
        await self._until_idle()
        try:
            if self._file >= 0 and not self._append_to.new:
                await self._threads.run(os.ftruncate, self._file, self._append_to.offset)
        finally:
            self._close()
        if self._append_to.new:
            await self._threads.run(self._path.unlink, missing_ok=True)

    def _take_turn(self, offset: int) -> None:
        """One request at a time appends, and where the file ends. Raises 409."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            in_turn = offset == os.fstat(self._file).st_size
        except BlockingIOError:
            in_turn = False
        if not in_turn:
            os.close(self._file)
            raise HttpError(409, "Another request is appending to this upload")

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _write_rest(self) -> None:
        self._ended = True
        if self._pending and not self._working and self._failure is None:
            self._start_writing()
        await self._until_idle()

    async def _until_idle(self) -> None:
        if self._working:
            self._idle = Deferred()
            await self._idle

    def _start_writing(self) -> None:
        block, self._pending, self._pending_size = self._pending, [], 0
        self._working = True
        writing = Deferred.fromCoroutine(self._threads.run(self._write_block, block))
        _ = writing.addBoth(self._block_written)

    def _write_block(self, block: list[bytes]) -> None:
        for piece in block:
            self._hash.update(piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._file, view) :]

    def _block_written(self, result: Failure | None) -> None:
        self._working = False
        if isinstance(result, Failure):
            self._fail(result)
        elif self._pending_size >= BLOCK or (self._ended and self._pending):
            self._start_writing()
        if self._paused and self._pending_size < BLOCK:
            self._paused = False
            self._flow.resume()
        if not self._working and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _fail(self, failure: Failure) -> None:
        self._pending.clear()
        self._pending_size = 0
        if is_disk_full(failure.value):
            self._failure = insufficient_storage()
        else:
            self._log.failure("writing an upload failed", failure=failure)
            self._failure = HttpError(500, "Storing the upload failed")


class AppendedFile:
    """Receives a body onto the end of a file. Others may append when the request has ended.

    What came stays when the request breaks off, so that it can be taken up there, with two exceptions: a new file,
    whose name its client never learned, and a body that is not, or not wholly, the one whose digest was signed.
    """

    def __init__(self, sink: FileSink, call: Call, *, new: bool) -> None:
        self._sink = sink
        self._call = call
        self._complete = not new

    def feed(self, data: bytes) -> None:
        """Write a piece."""
        self._sink.write(data)

    async def finish(self) -> None:
        """Everything is in the file."""
        await self._sink.written()
        self._complete = True

    async def discard(self) -> None:
        """Keep what came, or undo it."""
        if self._complete and self._call.has_its_body:
            await self._sink.keep()
        else:
            await self._sink.abort()


def _has_room(folder: Path, size: int) -> bool:
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize >= size + FREE_SPACE_MARGIN
