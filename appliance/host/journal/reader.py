"""Runs journalctl: counts what matches a filter, and reads entries from a cursor on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from twisted.internet.defer import DeferredSemaphore, TimeoutError
from twisted.logger import Logger

from appliance.host.errors import Unavailable
from appliance.host.journal.command import command, span, until
from appliance.host.journal.entries import ENTRY_OUTPUT
from appliance.host.journal.index import Index
from appliance.host.journal.output import CURSOR_OUTPUT, Consumer, Cursors, Lines
from appliance.host.journal.query import LogFilter
from appliance.process.reactor import ProcessReactor, within
from appliance.process.run import Finished, ProcessRunner
from appliance.process.stream import stream

COUNT_LIMIT = 1_000_000
"""How many entries of a filter are counted at most."""

COUNT_SECONDS = 8.0
"""How long one request counts at most; the next one goes on from there."""

PAGE_LIMIT = 16 << 20
"""Most bytes of a page, as journalctl prints them."""

ENTRY_LIMIT = 32 << 20
"""The same for a page of one entry, which cannot be asked for in smaller pieces."""

_READ_SECONDS = 20.0
_AT_ONCE = 2
_QUEUE = 32
_QUEUE_SECONDS = 15.0
_ERROR_LIMIT = 2000


class PageTooLarge(Exception):
    """The entries asked for come to more than `PAGE_LIMIT`, or one to more than `ENTRY_LIMIT`."""


class JournalReader:
    """The journal in `directory` (None: where journalctl looks by itself). At most two programs run at once."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, runner: ProcessRunner, directory: Path | None) -> None:
        self._reactor = reactor
        self._runner = runner
        self._directory = directory
        self._places = DeferredSemaphore(_AT_ONCE)

    async def count_older(self, wanted: LogFilter, index: Index) -> None:
        """
        Count backwards from the newest entry, or from the oldest that `index` knows.

        Ends at the oldest entry, which makes the index complete, at `COUNT_LIMIT` or after `COUNT_SECONDS`; an index
        that is cancelled on the way is good for what it has counted. Raises `Unavailable`.
        """
        room = COUNT_LIMIT - index.total
        begin = [f"--after-cursor={index.oldest_cursor.decode()}"] if index.total else span(wanted)
        cursors = Cursors(index.add_older, since=wanted.since)
        before = index.total
        finished = await self._run(
            wanted, cursors, COUNT_SECONDS, "--reverse", f"--lines={room}", *CURSOR_OUTPUT, *begin
        )
        if cursors.enough or (not finished.timed_out and index.total - before < room):
            index.complete = True

    async def count_newer(self, wanted: LogFilter, index: Index) -> bool:
        """
        Count on from the newest entry that `index` knows; False where that takes longer than `COUNT_SECONDS`.

        Raises `Unavailable`.
        """
        begin = f"--after-cursor={index.newest_cursor.decode()}"
        cursors = Cursors(index.add_newer)
        finished = await self._run(wanted, cursors, COUNT_SECONDS, *CURSOR_OUTPUT, begin, *until(wanted))
        return not finished.timed_out

    async def read(self, wanted: LogFilter, cursor: bytes, skip: int, count: int, *, whole: bool = True) -> bytes:
        """
        Return `count` entries back from the one that is `skip` before `cursor`, newest first: lines for `decode`.

        Unless `whole`, fields of more than 4096 bytes are left out. Raises `PageTooLarge`, `Unavailable`.
        """
        lines = Lines(skip, PAGE_LIMIT if count > 1 else ENTRY_LIMIT)
        length = ["--all"] if whole else []
        begin = [f"--cursor={cursor.decode()}", f"--lines={skip + count}"]
        finished = await self._run(wanted, lines, _READ_SECONDS, "--reverse", *ENTRY_OUTPUT, *length, *begin)
        if lines.enough:
            raise PageTooLarge
        if finished.timed_out:
            raise Unavailable("The journal was not read in time; try again or ask for fewer entries")
        return lines.content()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of the few places for work on logs. Raises `Unavailable` where too many wait for one."""
        if len(self._places.waiting) >= _QUEUE:
            raise Unavailable("Too many log queries at once; try again later")
        try:
            await within(self._reactor, _QUEUE_SECONDS, self._places.acquire())
        except TimeoutError:
            raise Unavailable("Too many log queries at once; try again later") from None
        try:
            yield
        finally:
            self._places.release()

    async def _run(self, wanted: LogFilter, consumer: Consumer, timeout: float, *options: str) -> Finished:
        argv: Sequence[str] = command(self._directory, wanted, *options)
        async with self.turn():
            finished = await stream(self._runner, argv, consumer, timeout=timeout, error_limit=_ERROR_LIMIT)
        no_match = wanted.search is not None and finished.exit_code == 1 and not finished.stderr
        if not (finished.succeeded or finished.timed_out or consumer.enough or no_match):
            text = finished.stderr.decode("utf-8", "replace").strip()
            self._log.error("journalctl: {how}: {text}", how=finished.describe(), text=text)
            raise Unavailable("The journal cannot be read")
        return finished
