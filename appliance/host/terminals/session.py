"""One shell on its terminal, and who looks at it: one viewer at a time, and for a while nobody."""

import secrets
import signal as signals
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall

from appliance.host.terminals.login import Login
from appliance.host.terminals.output import PIECE, Output, Piece
from appliance.process.eventual import Eventual, Tasks
from appliance.process.reactor import ProcessReactor
from appliance.process.terminal import Size, open_terminal

TICK = 0.004
"""Seconds between two pieces that are not full. The first one after that time goes out at once."""

RETRY = 0.1

HELD = 1 << 16
"""Bytes that are held for a viewer who does not keep up, until the program is paused."""

HELD_ALONE = 1 << 18
"""The same while nobody looks."""


class Reason(Enum):
    """Why a terminal has ended."""

    EXIT = "the shell has ended"
    CLOSED = "the user has closed it"
    LOST = "the connection was lost"
    IDLE = "nothing was typed or printed for too long"
    REVOKED = "the user has lost the right to it"
    SHUTDOWN = "the server stops"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a shell has ended: by exit code, or by a signal (its name); `seconds` is how long it ran."""

    code: int | None
    signal: str | None
    reason: Reason
    seconds: float


class Viewer(Protocol):
    """Who looks at a terminal."""

    @property
    def slow(self) -> bool:
        """Whether he does not keep up: nothing is shown then."""

    async def drained(self) -> None:
        """Return when he has caught up, or has gone."""

    def show(self, piece: Piece) -> None:
        """Take a piece of the output."""

    def ended(self, ended: Ended) -> None:
        """The terminal is over, and all of its output shown. Nothing comes after this."""

    def replaced(self) -> None:
        """Another viewer has taken his place. Nothing comes after this."""


class TerminalSession:
    """
    A shell that was started for a user. `id` is his alone to know: with it a terminal can be looked at again.

    Nothing it prints is lost: the program is paused when too much waits to be shown. Without a viewer for `reattach`
    seconds it is hung up, as when nothing is typed or printed for `idle` seconds (0: never).
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        login: Login,
        size: Size,
        over: Callable[["TerminalSession"], None],
        *,
        idle: float,
        reattach: float,
    ) -> None:
        """Start the shell; `over` is called when there is nothing more to be shown. Raises `ProcessError`."""
        self.id = secrets.token_urlsafe(24)
        self.login = login
        self.size = size
        self._reactor = reactor
        self._over = over
        self._idle = idle
        self._reattach = reattach
        self._output = Output()
        self._viewer: Viewer | None = None
        self._reason = Reason.EXIT
        self._ended: Eventual[Ended] = Eventual()
        self._end: Ended | None = None
        self._is_over = False
        self._paused = False
        self._waiting_for: Viewer | None = None
        self._tasks = Tasks()
        self._shown_at = 0.0
        self._started_at = self._used_at = reactor.seconds()
        self._show_timer: IDelayedCall | None = None
        self._lost_timer: IDelayedCall | None = None
        self._terminal = open_terminal(
            reactor,
            login.program,
            [login.argv0],
            self._receive,
            size=size,
            env=login.environment,
            cwd=login.home,
            identity=login.identity,
        )
        self._idle_timer = reactor.callLater(idle, self._look_whether_idle) if idle else None
        self._tasks.background(self._attend(), "waiting for a terminal's end")

    @property
    def pid(self) -> int:
        """The shell's process id."""
        return self._terminal.pid

    @property
    def is_hung_up(self) -> bool:
        """Whether it is at its end, or soon will be, because it was hung up."""
        return self._reason is not Reason.EXIT

    async def ended(self) -> Ended:
        """How the shell has ended, once it has."""
        return await self._ended.wait()

    # What a viewer does

    def attach(self, viewer: Viewer, after: int | None = None) -> bool:
        """
        Let `viewer` look from the next turn of the reactor on, in place of whoever did.

        He is shown what nobody has seen, and with `after` before it what came after that piece. False where some of
        that is not to be had any more.
        """
        if self._is_over and self._end is not None:
            self._reactor.callLater(0, viewer.ended, self._end)
            return True
        complete = after is None or self._output.go_back(after)
        before, self._viewer = self._viewer, viewer
        if before is not None:
            before.replaced()
        self._cancel(self._lost_timer)
        self._lost_timer = None
        self._show_later(0)
        return complete

    def detach(self, viewer: Viewer) -> None:
        """`viewer` has gone and may come back."""
        if self._viewer is viewer:
            self._viewer = None
            if not self._is_over:
                self._lost_timer = self._reactor.callLater(self._reattach, self.hang_up, Reason.LOST)

    async def type(self, text: str) -> None:
        """Type; return when the program has read so much that more may come."""
        self._used_at = self._reactor.seconds()
        self._terminal.write(text.encode())
        await self._terminal.writable()

    def resize(self, size: Size) -> None:
        """Give the window another size."""
        self.size = size
        self._terminal.resize(size)

    def hang_up(self, reason: Reason) -> None:
        """End the shell and all of its session; what it printed and nobody has seen is dropped."""
        if self._end is not None:
            self._conclude()
        elif self._reason is Reason.EXIT:
            self._reason = reason
            self._terminal.terminate()

    # How its output flows

    def _receive(self, data: bytes) -> None:
        now = self._used_at = self._reactor.seconds()
        self._output.add(data)
        if self._output.held >= PIECE or now >= self._shown_at + TICK:
            self._show()
        else:
            self._show_later(self._shown_at + TICK - now)
            self._throttle()

    def _show_later(self, delay: float) -> None:
        if self._show_timer is None:
            self._show_timer = self._reactor.callLater(delay, self._show)

    def _show(self) -> None:
        self._cancel(self._show_timer)
        self._show_timer = None
        self._shown_at = self._reactor.seconds()
        viewer = self._viewer
        if viewer is not None:
            self._show_to(viewer)
        self._throttle()

    def _show_to(self, viewer: Viewer) -> None:
        while not viewer.slow:
            piece = self._output.next(ended=self._end is not None)
            if piece is None:
                if self._end is not None:
                    self._conclude()
                return
            viewer.show(piece)
        if self._waiting_for is not viewer:
            self._waiting_for = viewer
            self._tasks.background(self._wait_for(viewer), "waiting for the viewer of a terminal")

    async def _wait_for(self, viewer: Viewer) -> None:
        await viewer.drained()
        if self._waiting_for is viewer:
            self._waiting_for = None
        if self._viewer is not viewer:
            return
        if viewer.slow:  # he has gone, and `detach` comes next; or he is slow again already
            self._show_later(RETRY)
        else:
            self._show()

    def _throttle(self) -> None:
        limit = HELD if self._viewer is not None else HELD_ALONE
        if not self._paused and self._output.held >= limit:
            self._paused = True
            self._terminal.pause()
        elif self._paused and self._output.held < limit // 2:
            self._paused = False
            self._terminal.resume()

    # How it ends

    async def _attend(self) -> None:
        ending = await self._terminal.wait()
        self._cancel(self._idle_timer)
        self._end = Ended(
            code=ending.exit_code,
            signal=_signal_name(ending.signal),
            reason=self._reason,
            seconds=self._reactor.seconds() - self._started_at,
        )
        if self._reason is Reason.EXIT:
            self._show()
        else:
            self._conclude()
        self._ended.set(self._end)

    def _conclude(self) -> None:
        """Nothing more is to be shown, or nobody is there to see it."""
        if self._is_over or self._end is None:
            return
        self._is_over = True
        for timer in (self._show_timer, self._lost_timer):
            self._cancel(timer)
        self._show_timer = self._lost_timer = None
        viewer, self._viewer = self._viewer, None
        if viewer is not None:
            viewer.ended(self._end)
        self._over(self)

    def _look_whether_idle(self) -> None:
        left = self._used_at + self._idle - self._reactor.seconds()
        if left <= 0:
            self.hang_up(Reason.IDLE)
        else:
            self._idle_timer = self._reactor.callLater(left, self._look_whether_idle)

    def _cancel(self, timer: IDelayedCall | None) -> None:
        if timer is not None and timer.active():
            timer.cancel()


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signals.Signals(number).name
    except ValueError:  # those between SIGRTMIN and SIGRTMAX have no names
        return f"signal {number}"
