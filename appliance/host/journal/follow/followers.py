"""Follows the log for any number of listeners: first what there is, then what comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred

from appliance.background import Background
from appliance.host.errors import Unavailable
from appliance.host.journal.follow.batch import Batch
from appliance.host.journal.follow.follower import Follower
from appliance.host.journal.follow.listener import Listener, selected
from appliance.host.journal.follow.source import Intake, JournalSource
from appliance.host.journal.follow.syslog_tail import SyslogTail
from appliance.host.journal.presence import SYSLOG_FOLDER, look
from appliance.host.journal.query import LogFilter
from appliance.process.reactor import ProcessReactor, sleep
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

MAX_FOLLOWERS = 32
"""How many filters are followed at once at most: each is a process."""

TURN_SECONDS = 5.0
"""How long one listener reads its backlog while others may be waiting."""

_SECOND = 1_000_000
_UNTIL_GRACE = 1.0  # between an entry's time and its being found
_LOOK_SECONDS = 2.0
_TAIL_SECONDS = 0.5
_RETRY_SECONDS = 1.0


class Wanted(msgspec.Struct, frozen=True):
    """
    What a listener asked for.

    Without `lines` all that matches `filter` (whose `search` is not looked at), with it the newest so many of what
    there is; with `follow` what comes after that as well, until the filter's `until`.
    """

    filter: LogFilter
    lines: int | None
    follow: bool


class Followers:
    """
    The followers of this machine's log.

    A listener first reads its backlog with a journalctl of its own, then joins the `Follower` of its unit and
    priority; when it cannot keep up there it reads on by itself again. `directory` is the journal's (None: where
    journalctl looks by itself). Without journal files there, syslog's files in `syslog_folder` are read, by each
    listener for itself: a place in a file is just a number, and looking whether it has grown is cheap.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        background: Background,
        threads: Threads,
        runner: ProcessRunner,
        directory: Path | None,
        syslog_folder: Path = SYSLOG_FOLDER,
    ) -> None:
        self._reactor = reactor
        self._background = background
        self._threads = threads
        self._directory = directory
        self._syslog_folder = syslog_folder
        self._source = JournalSource(reactor, runner, directory)
        self._followers: dict[LogFilter, Follower] = {}

    async def follow(self, wanted: Wanted, listener: Listener) -> None:
        """
        Deliver all that is wanted, in order, each entry once; return when there will be no more.

        To stop, cancel: the listener is not called again. Raises `Unavailable` where nothing keeps a log, the journal
        cannot be read, or too many different filters are followed.
        """
        with self._place(wanted) as follower:
            while True:
                found = await self._threads.run(look, self._directory, self._syslog_folder)
                if found.journalctl and found.journal:
                    return await self._follow_journal(wanted, listener, follower)
                if found.syslog:
                    return await self._follow_syslog(wanted, listener)
                if not found.journalctl:
                    raise Unavailable("There is neither journalctl nor a syslog file on this machine")
                if self._is_over(wanted):
                    return None
                await sleep(self._reactor, _LOOK_SECONDS)

    @contextmanager
    def _place(self, wanted: Wanted) -> Iterator[Follower | None]:
        """The follower that the listener will join, kept for it from the beginning; None for one who will not."""
        if self._is_over(wanted):
            yield None
            return
        key = LogFilter(service=wanted.filter.service, priority=wanted.filter.priority)
        follower = self._followers.get(key)
        if follower is None:
            if len(self._followers) >= MAX_FOLLOWERS:
                raise Unavailable(f"{MAX_FOLLOWERS} different log filters are followed already; try again later")
            follower = Follower(self._reactor, self._background, self._source, key)
            self._followers[key] = follower
        follower.users += 1
        try:
            yield follower
        finally:
            follower.users -= 1
            if not follower.users:
                del self._followers[key]

    async def _follow_journal(self, wanted: Wanted, listener: Listener, follower: Follower | None) -> None:
        cursor = await self._source.begin(wanted.filter, wanted.lines)
        while True:
            before = cursor
            last = self._is_over(wanted)
            cursor = await self._read_backlog(wanted.filter, listener, cursor)
            if last or follower is None:
                return
            cursor = await follower.feed(listener, wanted.filter, cursor, self._left(wanted))
            if cursor == before:  # it neither read nor joined: then the order of cursors leads nowhere just now
                await sleep(self._reactor, _RETRY_SECONDS)

    async def _read_backlog(self, wanted: LogFilter, listener: Listener, cursor: bytes) -> bytes:
        """Deliver what comes after `cursor`, to the end of the journal; return the last entry's cursor."""
        seconds = TURN_SECONDS
        while True:
            await listener.drained()
            backlog = _Backlog(listener, wanted, cursor)
            at_end = await self._source.read(wanted, backlog.intake, seconds)
            if at_end:
                return backlog.intake.cursor
            if backlog.intake.cursor == cursor:
                seconds *= 2  # it is the search that takes so long
            cursor = backlog.intake.cursor

    async def _follow_syslog(self, wanted: Wanted, listener: Listener) -> None:
        tail = SyslogTail(self._syslog_folder, wanted.filter)
        try:
            await self._threads.run(tail.begin, wanted.lines)
            while True:
                await listener.drained()
                last = self._is_over(wanted)
                entries = await self._threads.run(tail.read, final=last)
                if entries:
                    listener.deliver(Batch(entries))
                if not tail.at_end:
                    continue
                if last:
                    return
                await sleep(self._reactor, _TAIL_SECONDS)
        finally:
            self._background.spawn("closing a syslog file", self._threads.run(tail.close))

    def _is_over(self, wanted: Wanted) -> bool:
        """Whether nothing that comes from now on can be wanted."""
        left = self._left(wanted)
        return not wanted.follow or (left is not None and left <= 0)

    def _left(self, wanted: Wanted) -> float | None:
        """Seconds until no entry can come any more that is wanted; None where there is no such time."""
        until = wanted.filter.until
        return None if until is None else until / _SECOND + _UNTIL_GRACE - self._reactor.seconds()


class _Backlog:
    """Gives one listener what journalctl prints, as fast as it takes it."""

    def __init__(self, listener: Listener, wanted: LogFilter, cursor: bytes) -> None:
        self.intake = Intake(cursor, self._take)
        self._listener = listener
        self._wanted = wanted

    def _take(self, batch: Batch) -> None:
        found = selected(batch, self._wanted)
        if found is not None:
            self._listener.deliver(found)
        if self._listener.slow:
            self.intake.pause()
            _ = Deferred.fromCoroutine(self._listener.drained()).addCallback(lambda _: self.intake.resume())
