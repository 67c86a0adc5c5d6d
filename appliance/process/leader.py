"""A process that leads a session of its own, and how all of its group is ended.

The number of a process group is safe to signal while its leader has not been reaped, for until then the kernel gives
it to nobody else. So whoever learns that a leader has ended tells this object first, which kills what is left of the
group where that is wanted, and only then has it reaped.
"""

import contextlib
import os
import signal
from abc import ABC, abstractmethod

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from appliance.process.child import Ending
from appliance.process.eventual import Eventual
from appliance.process.reactor import ProcessReactor

TERMINATE_GRACE = 2.0
"""Seconds between TERM and KILL."""

KILL_GRACE = 5.0
"""Seconds after which a process that not even KILL ends (it hangs in the kernel) is waited for no longer."""


class LeaderLost(Exception):
    """How the process ended cannot be known."""


class SessionLeader(ABC):
    """The leader of a session. `ended` has its ending, or fails with `LeaderLost`."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, pid: int) -> None:
        self.pid = pid
        self.ended: Eventual[Ending] = Eventual()
        self._reactor = reactor
        self._terminating = False
        self._timer: IDelayedCall | None = None

    def terminate(self) -> None:
        """End the whole group: TERM, and KILL after two seconds or as soon as the leader itself is gone."""
        if not self._terminating and not self.ended.known:
            self._terminating = True
            self._timer = self._reactor.callLater(TERMINATE_GRACE, self.kill)
            self.signal_group(signal.SIGTERM)
            self.signal_group(signal.SIGCONT)  # one that is stopped gets no other signal before it goes on

    def kill(self) -> None:
        """KILL the whole group."""
        if self.ended.known:
            return
        self._terminating = True
        self._stop_timer()
        self._timer = self._reactor.callLater(KILL_GRACE, self._give_up)
        self.signal_group(signal.SIGKILL)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the leader and all of its group. Only before its ending is known."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # a fork of ours that has not come to setsid(2) yet: alone, so that this is enough
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        except PermissionError:
            self._log.warn("Process group {pid} runs as another user and cannot be signalled", pid=self.pid)

    def has_ended(self, ending: Ending) -> None:
        """To be called when the leader is a zombie; it is reaped in here."""
        if self._terminating:
            self.signal_group(signal.SIGKILL)
        self._stop_timer()
        self.reap()
        self.ended.set(ending)

    def is_lost(self, why: str) -> None:
        """To be called when its ending will never be known; the group has been killed as far as that is possible."""
        self._stop_timer()
        self.ended.refuse(LeaderLost(why))

    @abstractmethod
    def look(self) -> None:
        """Find out now whether it has ended: word of it may wait behind a timer in a reactor that was busy."""

    @abstractmethod
    def reap(self) -> None:
        """Let the kernel have the number back."""

    def _give_up(self) -> None:
        self.look()
        if self.ended.known:
            return
        self._log.error("Process {pid} does not end even when killed", pid=self.pid)
        self.is_lost("it does not end even when killed")

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
