"""One run of a plugin, from its pipes to its outcome."""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IDelayedCall

from appliance.process.child import Ending
from appliance.process.drains import Drains
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.leader import LeaderLost, SessionLeader
from appliance.process.output import Tail
from appliance.process.pipes import Feed, Intake, pipe_from_child, pipe_to_child
from appliance.process.reactor import ProcessReactor, within
from appliance.rpc.plugins.budget import Budget
from appliance.rpc.plugins.outcome import Kind, Outcome
from appliance.rpc.plugins.progress import DESCRIPTOR, ProgressLines

COMPLAINT_LIMIT = 8192
"""Bytes kept of standard error: its end."""

SILENCE_GRACE = 0.2
"""Seconds that a plugin which has ended without a word is waited for, where a process that it started may speak yet."""

Launch = Callable[[Mapping[int, int]], Coroutine[Any, Any, SessionLeader]]
"""Starts the process with descriptors, by the numbers it gets. Raises `ProcessError`."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome, the end of standard error, whether its beginning was dropped, and why it is unavailable."""

    outcome: Outcome
    complaint: bytes
    cut: bool
    why: str = ""


class Invocation:
    """
    One run. `stop` may be called at any time; `run` ends only when the process has, whoever waits for it.

    It ends with the process, not with its output: a child in the background may hold that open as long as it likes.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        drains: Drains,
        budget: Budget,
        *,
        nowhere: int,
        stdin: bytes,
        timeout: float,
        output_limit: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        """
        `timeout` in seconds counts from the process's start; `nowhere` is a descriptor of /dev/null.

        A run has `output_limit` bytes for its output, as far as what all runs share, `budget`, allows.
        """
        self._reactor = reactor
        self._drains = drains
        self._budget = budget
        self._nowhere = nowhere
        self._stdin = stdin
        self._timeout = timeout
        self._limit = output_limit
        self._progress = progress
        self._leader: SessionLeader | None = None
        self._stopped: Kind | None = None
        self._output: list[bytes] = []
        self._size = 0
        self._taken = 0
        self._why = ""
        self._spoke: Eventual[None] = Eventual()
        self._complaint = Tail(COMPLAINT_LIMIT)

    def stop(self, why: Kind = "unavailable") -> None:
        """End the process and its group; the outcome is `why`."""
        if self._stopped is None:
            self._stopped = why
            self._output.clear()
            self._return_budget()
            if self._leader is not None:
                self._leader.terminate()

    async def run(self, launch: Launch) -> Ran:
        """Start it, and return how it ended."""
        if self._stopped is not None:
            return Ran(Outcome(self._stopped), b"", cut=False)
        try:
            ours, theirs = _pipes(self._nowhere if self._progress is None else None)
        except OSError as error:
            return self._unavailable(f"no pipes for it: {error}")
        try:
            leader = await launch(theirs)
        except BaseException as error:
            _close(ours.values())
            if not isinstance(error, ProcessError):
                raise
            return self._unavailable(str(error))
        finally:
            _close(number for number in theirs.values() if number != self._nowhere)
        return await self._attend(leader, ours)

    async def _attend(self, leader: SessionLeader, ours: Mapping[int, int]) -> Ran:
        self._leader = leader
        stdout = Intake(self._reactor, ours[1], self._take_output, lambda: self._spoke.set(None))
        stderr = Intake(self._reactor, ours[2], self._complaint.add)
        lines = None
        if self._progress is not None:
            lines = Intake(self._reactor, ours[DESCRIPTOR], ProgressLines(self._report).add)
        feed = Feed(self._reactor, ours[0], self._stdin)
        self._stdin = b""
        timer = self._reactor.callLater(self._timeout, self._expire, leader)
        try:
            if self._stopped is not None:
                leader.terminate()
            ending = await leader.ended.wait()
            _stop_timer(timer)
            await self._collect(stdout)
            stderr.read_rest()
        except LeaderLost as error:
            if self._stopped is None:
                return self._unavailable(str(error))
            ending = Ending(None, None)
        finally:
            _stop_timer(timer)
            feed.close()
            if lines is not None:
                lines.read_rest()
                lines.close()
            for intake in (stdout, stderr):
                left = intake.release()
                if left >= 0:
                    self._drains.adopt(left)
        outcome = self._outcome(ending)
        self._return_budget()
        return Ran(outcome, self._complaint.content(), self._complaint.dropped, self._why)

    async def _collect(self, stdout: Intake) -> None:
        """Take what it has printed; wait a moment where that is nothing but something may come."""
        stdout.read_rest()
        if not self._spoke.known and self._stopped is None:
            try:
                await within(self._reactor, SILENCE_GRACE, self._spoke.wait())
            except TimeoutError:
                return
            stdout.read_rest()

    def _outcome(self, ending: Ending) -> Outcome:
        if self._stopped is not None:
            return Outcome(self._stopped)
        if ending.signal is not None:
            return Outcome("signalled", signal=ending.signal)
        return Outcome("exited", exit_code=ending.exit_code or 0, output=b"".join(self._output))

    def _unavailable(self, why: str) -> Ran:
        self._return_budget()
        return Ran(Outcome("unavailable"), self._complaint.content(), self._complaint.dropped, why)

    def _take_output(self, data: bytes) -> None:
        self._size += len(data)
        if self._stopped is None:
            if self._size > self._limit:
                self.stop("too_large")
            elif not self._budget.take(len(data)):
                self._why = "all plugins together print more than there is room for"
                self.stop("unavailable")
            else:
                self._taken += len(data)
                self._output.append(data)
        self._spoke.set(None)

    def _return_budget(self) -> None:
        self._budget.give_back(self._taken)
        self._taken = 0

    def _report(self, percentage: int) -> None:
        if self._progress is not None and self._stopped is None:
            self._progress(percentage)

    def _expire(self, leader: SessionLeader) -> None:
        leader.look()
        if not leader.ended.known:
            self.stop("timeout")


def _pipes(nowhere: int | None) -> tuple[dict[int, int], dict[int, int]]:
    """Our ends and theirs by the numbers that the process gets. Raises `OSError`."""
    ours: dict[int, int] = {}
    theirs: dict[int, int] = {}
    makers = {0: pipe_to_child, 1: pipe_from_child, 2: pipe_from_child, DESCRIPTOR: pipe_from_child}
    if nowhere is not None:
        del makers[DESCRIPTOR]
    try:
        for number, make in makers.items():
            ends = make()
            ours[number], theirs[number] = ends.ours, ends.theirs
    except OSError:
        _close([*ours.values(), *theirs.values()])
        raise
    if nowhere is not None:
        theirs[DESCRIPTOR] = nowhere
    return ours, theirs


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _stop_timer(timer: IDelayedCall) -> None:
    if timer.active():
        timer.cancel()
