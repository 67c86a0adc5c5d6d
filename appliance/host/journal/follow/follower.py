"""
One stream of new entries for all who want the same.

Nothing is lost and nothing comes twice, whatever happens to readers or to journalctl, since each listener has a cursor:
the place in the journal of the last entry that it was given. From any cursor the rest can be read again, so the journal
itself is the buffer, and here is only a small ring of what came last, one for all listeners.

A listener that is slow is given nothing and stays at its place in the ring. While others take their entries, the ring
moves on; when it has left that place behind, the listener is let go, and reads on in the journal from its cursor at its
own pace, until it finds the ring again (`Followers`). So a slow listener costs no memory, never holds the others back,
and no process waits for it. Where all are slow the source is: journalctl is not read, and waits in its write.
"""

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.background import Background
from appliance.host.journal.follow.batch import Batch
from appliance.host.journal.follow.cursor import is_after
from appliance.host.journal.follow.listener import Listener, selected
from appliance.host.journal.follow.ring import Ring
from appliance.host.journal.follow.source import Intake, JournalSource
from appliance.host.journal.query import LogFilter
from appliance.process.reactor import ProcessReactor, sleep

RING_BYTES = 1 << 18
"""How far behind the newest entry a listener may be and still share the stream."""

RENEWAL = 60.0
"""
Seconds after which journalctl is started anew. It watches the folders that there were when it began, and is deaf when
journald moves to another (/run to /var, journalctl(1), `--flush`); and it holds files that have been deleted.
"""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_GOOD_RUN = 10.0


class Follower:
    """`journalctl --follow` for the unit and priority of one filter; it runs while somebody is fed."""

    _log = Logger()

    def __init__(
        self, reactor: ProcessReactor, background: Background, source: JournalSource, wanted: LogFilter
    ) -> None:
        self.users = 0
        self._reactor = reactor
        self._background = background
        self._source = source
        self._wanted = wanted
        self._places: set[_Place] = set()
        self._ring = Ring(b"", RING_BYTES)
        self._intake: Intake | None = None
        self._running: Deferred[None] | None = None
        self._held_back = False

    async def feed(self, listener: Listener, wanted: LogFilter, cursor: bytes, seconds: float | None) -> bytes:
        """
        Deliver what comes after `cursor` and lies in the time that is `wanted`.

        Returns after `seconds` (None: never by itself), or when the ring has left the listener behind, which may be at
        once: the cursor of the last entry that was delivered or passed over.
        """
        if self._running is None or self._held_back:
            # Who holds it back is far behind: the newcomer would have to wait until all of that has gone through.
            self._begin(cursor)
        elif is_after(self._ring.begin, cursor):
            return cursor
        place = _Place(listener, wanted, cursor, self._ring.first)
        self._places.add(place)
        timer = None if seconds is None else self._reactor.callLater(max(0.0, seconds), self._leave, place)
        try:
            self._serve(place)
            while place in self._places:
                await place.stuck()
                await listener.drained()
                place.held = False
                self._serve(place)
            if place.failure is not None:
                place.failure.raiseException()
            return place.cursor
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            self._leave(place)

    def _begin(self, cursor: bytes) -> None:
        """Start journalctl at `cursor`; those who are fed now have to find their way from theirs."""
        self._end()
        left, self._places = self._places, set()
        for place in left:
            place.wake()
        self._held_back = False
        self._ring = Ring(cursor, RING_BYTES)
        self._running = Deferred.fromCoroutine(self._run())
        self._background.own("following the log", self._running)

    def _end(self) -> None:
        running, self._running = self._running, None
        self._intake = None
        if running is not None:
            running.cancel()

    async def _run(self) -> None:
        """Keep journalctl running, from where the ring ends."""
        pause = _FIRST_PAUSE
        while True:
            started = self._reactor.seconds()
            intake = self._intake = Intake(self._ring.newest_cursor, self._take)
            if self._held_back:
                intake.pause()
            try:
                if await self._source.follow(self._wanted, intake, RENEWAL):
                    continue
            except CancelledError:
                raise
            except Exception:  # listeners are waiting: whatever it is, it is tried again
                self._log.failure("Following the log failed, it is tried again")
            if self._reactor.seconds() - started > _GOOD_RUN:
                pause = _FIRST_PAUSE
            await sleep(self._reactor, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _take(self, batch: Batch) -> None:
        self._ring.append(batch)
        for place in list(self._places):
            if place.number < self._ring.first:
                self._leave(place)
            elif not place.held:
                self._serve(place)

    def _serve(self, place: "_Place") -> None:
        """Deliver to one listener until it is slow or has everything."""
        if place not in self._places:
            return
        try:
            while place.number < self._ring.end and not place.listener.slow:
                place.number += 1
                place.take(self._ring[place.number - 1])
        except Exception:  # one listener's trouble is not that of the others
            place.failure = Failure()
            self._leave(place)
            return
        if place.listener.slow:
            place.hold()
        self._balance()

    def _leave(self, place: "_Place") -> None:
        if place in self._places:
            self._places.discard(place)
            place.wake()
            self._balance()

    def _balance(self) -> None:
        """Hold the source back while all listeners are slow; end it when there are none."""
        if not self._places:
            self._end()
            return
        held_back = all(place.held for place in self._places)
        if held_back != self._held_back:
            self._held_back = held_back
            if self._intake is not None:
                (self._intake.pause if held_back else self._intake.resume)()


class _Place:
    """How far one listener has come: `number` is that of its next batch, `cursor` that of its last entry."""

    def __init__(self, listener: Listener, wanted: LogFilter, cursor: bytes, number: int) -> None:
        self.listener = listener
        self.cursor = cursor
        self.number = number
        self.held = False
        self.failure: Failure | None = None
        self._wanted = wanted
        self._joining = True
        self._stuck: Deferred[None] = Deferred()

    async def stuck(self) -> None:
        """Return when it does not go on by itself any more."""
        await self._stuck
        self._stuck = Deferred()

    def hold(self) -> None:
        """Its listener is slow."""
        self.held = True
        self.wake()

    def wake(self) -> None:
        """Let `stuck` return."""
        if not self._stuck.called:
            self._stuck.callback(None)

    def take(self, batch: Batch) -> None:
        """Deliver what it has not had yet of the batch."""
        if self._joining:
            entries = [entry for entry in batch.entries if is_after(entry.cursor, self.cursor)]
            if not entries:
                return
            self._joining = False
            if len(entries) < len(batch.entries):
                batch = Batch(entries)
        self.cursor = batch.cursor
        wanted = selected(batch, self._wanted)
        if wanted is not None:
            self.listener.deliver(wanted)
