"""Runs journalctl for those who listen: finds where their backlog begins, reads it, and stays for what comes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IProducer, IPushProducer
from twisted.logger import Logger

from appliance.host.errors import Unavailable
from appliance.host.journal.command import command, until
from appliance.host.journal.follow.batch import EXPORT_OUTPUT, Batch, LiveEntry, from_record
from appliance.host.journal.follow.cursor import is_same
from appliance.host.journal.follow.export import ExportParser, Record
from appliance.host.journal.output import CURSOR_OUTPUT, Consumer, Cursors, NotAnExport
from appliance.host.journal.query import LogFilter
from appliance.process.errors import ProcessError
from appliance.process.reactor import ProcessReactor, sleep
from appliance.process.run import Finished, ProcessRunner
from appliance.process.stream import stream

AT_ONCE = 8
"""How many read backlogs at once; the others wait for their turn."""

LOOKS_AGAIN = 5
"""
How often at most one intake has journalctl read again what came without a message. There are entries that have none:
a journal full of them must not mean a run of journalctl for each.
"""

_LOOK_AGAIN_SECONDS = 0.2
_BEGIN_SECONDS = 20.0
_ERROR_LIMIT = 2000


class Intake(Consumer):
    """
    Makes batches of journalctl's output, as fast as whoever takes them lets it.

    `cursor` is that of the entry after which the output is to go on ("" for all): journalctl is asked to begin with it,
    and it is left out. Asking for what comes after it would lose an entry where that one has been deleted meanwhile.

    At an entry without a message it stops, and has to be filled once more after `look_again`. journald shows an entry
    to readers before it has linked all its fields, and journalctl leaves out a field that it finds half linked (to its
    data object the first entry is there, but not yet their number): it prints the entry, once, without what is new in
    it, which is its message. An entry that has no message at the second look either is taken as it is.
    """

    def __init__(self, cursor: bytes, take: Callable[[Batch], None]) -> None:
        super().__init__()
        self.cursor = cursor
        self._first = cursor
        self._take = take
        self._parser = ExportParser()
        self._paused = False
        self._looks_left = LOOKS_AGAIN
        self._looked_at: set[bytes] = set()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """The program has started."""
        super().registerProducer(producer, streaming)
        if self._paused:
            self.pause()

    def write(self, data: bytes) -> None:
        """Take a piece of the output."""
        records = self._parser.feed(data)
        entries = [from_record(record) for record in records]
        if entries and self._first:
            if is_same(entries[0].cursor, self._first):
                del records[0], entries[0]
            self._first = b""
        sure = self._sure(records, entries)
        if sure:
            batch = Batch(entries[:sure])
            self.cursor = batch.cursor
            self._take(batch)
        if sure < len(entries):
            self.stop()

    def look_again(self) -> None:
        """Be ready for what journalctl prints from `cursor` on."""
        self.enough = False
        self._first = self.cursor
        self._parser = ExportParser()

    def _sure(self, records: Sequence[Record], entries: Sequence[LiveEntry]) -> int:
        """How many of the entries, from the first on, are as they were written."""
        if not self._looks_left:
            return len(entries)
        bare = [
            number
            for number, entry in enumerate(entries)
            if not records[number].messages and entry.cursor not in self._looked_at
        ]
        if not bare:
            return len(entries)
        self._looks_left -= 1
        self._looked_at = {entries[number].cursor for number in bare}
        return bare[0]

    def pause(self) -> None:
        """Hold journalctl back."""
        self._paused = True
        if self._producer is not None:
            cast(IPushProducer, self._producer).pauseProducing()

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        if self._producer is not None:
            cast(IPushProducer, self._producer).resumeProducing()


class JournalSource:
    """The journal in `directory` (None: where journalctl looks by itself)."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, runner: ProcessRunner, directory: Path | None) -> None:
        self._reactor = reactor
        self._runner = runner
        self._directory = directory
        self._turns = DeferredSemaphore(AT_ONCE)

    async def begin(self, wanted: LogFilter, lines: int | None) -> bytes:
        """
        Return the cursor of the last entry before those that are wanted: the newest `lines` that match, or all (None).

        The empty cursor where no entry comes before them. Raises `Unavailable`.
        """
        if lines is None:
            if not wanted.since:
                return b""
            wanted = msgspec.structs.replace(wanted, since=None, until=wanted.since - 1)
            lines = 0
        found: list[bytes] = []
        cursors = Cursors(found.append, since=wanted.since)
        argv = command(self._directory, wanted, *CURSOR_OUTPUT, "--reverse", f"--lines={lines + 1}", *until(wanted))
        finished = await self._read(argv, cursors, _BEGIN_SECONDS)
        if finished.timed_out:
            raise Unavailable("The journal was not read in time; try again later")
        return found[lines] if len(found) > lines else cursors.stopped_at

    async def read(self, wanted: LogFilter, intake: Intake, seconds: float) -> bool:
        """
        Read from the intake's cursor to the end; False where `seconds` were not enough for that.

        Raises `Unavailable`.
        """
        while True:
            argv = command(self._directory, wanted, *EXPORT_OUTPUT, *_begin(intake), *until(wanted))
            finished = await self._read(argv, intake, seconds)
            if not intake.enough:
                return not finished.timed_out
            await self._look_again(intake)

    async def follow(self, wanted: LogFilter, intake: Intake, seconds: float) -> bool:
        """
        Read from the intake's cursor on and then what is added, for `seconds`; False where journalctl ended before.

        Raises `ProcessError`.
        """
        # To follow means --boot, which --merge alone undoes. Without a directory --merge would bring in the journals of
        # other machines; but there what is added belongs to this boot anyway.
        merge = () if self._directory is None else ("--merge",)
        while True:
            argv = command(self._directory, wanted, *EXPORT_OUTPUT, "--follow", "--no-tail", *merge, *_begin(intake))
            finished = await stream(self._runner, argv, intake, timeout=seconds, error_limit=_ERROR_LIMIT)
            if not intake.enough:
                break
            await self._look_again(intake)
        if not finished.timed_out:
            self._report(finished)
        return finished.timed_out

    async def _read(self, argv: list[str], consumer: Consumer, seconds: float) -> Finished:
        await self._turns.acquire()
        try:
            finished = await stream(self._runner, argv, consumer, timeout=seconds, error_limit=_ERROR_LIMIT)
        except (ProcessError, NotAnExport) as error:
            self._log.error("Reading the log: {kind}: {error}", kind=type(error).__name__, error=error)
            raise Unavailable("The journal cannot be read") from error
        finally:
            self._turns.release()
        if not (finished.succeeded or finished.timed_out or consumer.enough):
            self._report(finished)
            raise Unavailable("The journal cannot be read")
        return finished

    async def _look_again(self, intake: Intake) -> None:
        """Give the writer time to finish its entry."""
        await sleep(self._reactor, _LOOK_AGAIN_SECONDS)
        intake.look_again()

    def _report(self, finished: Finished) -> None:
        text = finished.stderr.decode("utf-8", "replace").strip()
        self._log.error("journalctl: {how}: {text}", how=finished.describe(), text=text)


def _begin(intake: Intake) -> Sequence[str]:
    return [f"--cursor={intake.cursor.decode()}"] if intake.cursor else []
