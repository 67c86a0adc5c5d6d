"""Pages of the log, from whatever keeps it on this machine."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import msgspec
from twisted.internet.defer import DeferredLock, TimeoutError

from appliance.host.errors import Invalid, Unavailable
from appliance.host.journal import syslog_files
from appliance.host.journal.entries import LogEntry, decode
from appliance.host.journal.files import JournalFiles, scan
from appliance.host.journal.index import Index
from appliance.host.journal.presence import SYSLOG_FOLDER, look
from appliance.host.journal.query import LogFilter
from appliance.host.journal.reader import COUNT_LIMIT, JournalReader, PageTooLarge
from appliance.process.reactor import ProcessReactor, within
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

MAX_FILTERS = 16
"""How many filters are remembered: at most 700 KB each."""

_ATTEMPTS = 3
_LOCK_SECONDS = 20.0


class LogPage(msgspec.Struct):
    """
    A page of the entries that match, newest first.

    `total_count` is how many match in all. `total_capped` says that there may be more than that: only the newest were
    counted, and `until` leads to the others.
    """

    logs: Sequence[LogEntry]
    total_count: int
    page: int
    page_size: int
    total_capped: bool


class _Remembered:
    """The index of one filter, and the lock under which it grows."""

    def __init__(self) -> None:
        self.lock = DeferredLock()
        self.index: Index | None = None


class _Place(msgspec.Struct):
    """Where a page lies, and in which journal files."""

    cursor: bytes
    skip: int
    count: int
    files: JournalFiles


class Journal:
    """
    The log of this machine.

    journalctl knows no offset, so the first query with a filter walks over all entries that match it and keeps the
    cursors of some (see `Index`); later ones count what has been added since. Any page is then one run of journalctl
    from the nearest cursor. `directory` is the journal's (None: where journalctl looks by itself); without journal
    files there the syslog files in `syslog_folder` are read, where there are any.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        runner: ProcessRunner,
        threads: Threads,
        directory: Path | None,
        syslog_folder: Path = SYSLOG_FOLDER,
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._directory = directory
        self._syslog_folder = syslog_folder
        self._reader = JournalReader(reactor, runner, directory)
        self._remembered: OrderedDict[LogFilter, _Remembered] = OrderedDict()

    async def page(self, wanted: LogFilter, number: int, size: int) -> LogPage:
        """
        Return page `number` (from 1) of the entries that match, `size` to a page, newest first.

        Pages of one journal are disjoint and cover it. New entries shift them towards higher numbers, except for a
        filter that has an `until`. Raises `Unavailable` where nothing keeps a log or too much is asked at once, and
        `Invalid` for a `size` whose entries do not fit into memory.
        """
        found = await self._threads.run(look, self._directory, self._syslog_folder)
        if found.journalctl and found.journal:
            return await self._journal_page(wanted, number, size)
        if found.syslog:
            return await self._syslog_page(wanted, number, size)
        if found.journalctl:
            return LogPage([], 0, number, size, False)
        raise Unavailable("There is neither journalctl nor a syslog file on this machine")

    async def _syslog_page(self, wanted: LogFilter, number: int, size: int) -> LogPage:
        async with self._reader.turn():
            first = (number - 1) * size
            found = await self._threads.run(syslog_files.read, self._syslog_folder, wanted, first, size)
        return LogPage(found.entries, found.total, number, size, found.capped)

    async def _journal_page(self, wanted: LogFilter, number: int, size: int) -> LogPage:
        attempts = 0
        while True:
            attempts += 1
            place, page = await self._locate(wanted, number, size)
            if place.count == 0:
                return page
            lines = await self._read(wanted, place)
            page.logs, files = await self._threads.run(self._decode, lines)
            unchanged = files.keys() == place.files.keys() and len(page.logs) == place.count
            if unchanged or attempts == _ATTEMPTS:
                return page
            self._remembered.pop(wanted, None)  # files were rotated or deleted under our hands

    def _decode(self, lines: bytes) -> tuple[Sequence[LogEntry], JournalFiles]:
        return [decode(line) for line in lines.splitlines()], scan(self._directory)

    async def _read(self, wanted: LogFilter, place: _Place) -> bytes:
        try:
            return await self._reader.read(wanted, place.cursor, place.skip, place.count)
        except PageTooLarge:
            pass
        try:
            return await self._reader.read(wanted, place.cursor, place.skip, place.count, whole=False)
        except PageTooLarge:
            raise Invalid("page_size", "so many entries of this length do not fit; ask for fewer") from None

    async def _locate(self, wanted: LogFilter, number: int, size: int) -> tuple[_Place, LogPage]:
        """Bring the filter's index up to date and look the page up in it, in one go: it may move on at any wait."""
        remembered = self._recall(wanted)
        await self._lock(remembered.lock)
        try:
            index = await self._up_to_date(wanted, remembered)
            page = LogPage([], index.total, number, size, not index.complete)
            first = (number - 1) * size
            count = max(0, min(size, index.total - first))
            cursor, skip = index.place(first) if count else (b"", 0)
            return _Place(cursor, skip, count, index.files), page
        finally:
            remembered.lock.release()

    async def _up_to_date(self, wanted: LogFilter, remembered: _Remembered) -> Index:
        files = await self._threads.run(scan, self._directory)
        index = remembered.index
        if index is not None and not index.follows(files):
            index = None
        if index is not None and index.files != files:
            index = index if await self._reader.count_newer(wanted, index) else None
        if index is None:
            index = Index(files)
        index.files = files
        remembered.index = index
        if not index.complete and index.total < COUNT_LIMIT:
            await self._reader.count_older(wanted, index)
        return index

    def _recall(self, wanted: LogFilter) -> _Remembered:
        remembered = self._remembered.setdefault(wanted, _Remembered())
        self._remembered.move_to_end(wanted)
        if len(self._remembered) > MAX_FILTERS:
            self._remembered.popitem(last=False)
        return remembered

    async def _lock(self, lock: DeferredLock) -> None:
        try:
            await within(self._reactor, _LOCK_SECONDS, lock.acquire())
        except TimeoutError:
            raise Unavailable("The log is still being counted for others; try again later") from None
