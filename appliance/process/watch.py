"""Whether a process that need not be our child still runs, and when it ends."""

import os
import signal
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.reactor import ProcessReactor

POLL = 0.5
"""Seconds between looks where the kernel has no pidfd for us."""


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process and no other: its number may be given again, but not with the same start time (ticks
    since boot)."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> "ProcessMark | None":
        """The mark of the process that has this number now, a zombie's too. Reads one line of /proc."""
        fields = _fields(pid)
        return None if fields is None else cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """Whether it runs; a zombie does not. Reads one line of /proc."""
        fields = _fields(self.pid)
        return fields is not None and fields[0] not in (b"Z", b"X") and int(fields[19]) == self.start_time


def _fields(pid: int) -> list[bytes] | None:
    """What follows the name in proc(5)'s stat: field 3, the state, comes first, field 22 is the start time."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    """The kernel's identity of this boot (random(4)): marks of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def send_signal(mark: ProcessMark, number: signal.Signals, *, group: bool = False) -> bool:
    """Signal the process (or the group it leads) if it still is the one marked; return whether it was."""
    try:
        if group:
            if not mark.alive():
                return False
            os.killpg(mark.pid, number)
            return True
        descriptor = os.pidfd_open(mark.pid)
        try:
            if not mark.alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        return False
    except OSError:  # no pidfd here: a moment between look and signal remains
        if not mark.alive():
            return False
        os.kill(mark.pid, number)
    return True


def process_ended(reactor: ProcessReactor, mark: ProcessMark) -> Deferred[None]:
    """Fires when the marked process has ended; cancelling stops the watching only."""
    try:
        descriptor = os.pidfd_open(mark.pid)
    except OSError:  # gone already, or a kernel or sandbox without pidfd: then looking is all there is
        return _poll(reactor, mark)
    if not mark.alive():  # looked at after opening: the descriptor is of the marked process or of none
        os.close(descriptor)
        return _poll(reactor, mark)
    return _ProcessDescriptor(reactor, descriptor).ended


def _poll(reactor: ProcessReactor, mark: ProcessMark) -> Deferred[None]:
    timer: IDelayedCall | None = None

    def look() -> None:
        nonlocal timer
        if mark.alive():
            timer = reactor.callLater(POLL, look)
        else:
            ended.callback(None)

    def stop_looking(_: Deferred[None]) -> None:
        if timer is not None:
            timer.cancel()

    ended: Deferred[None] = Deferred(stop_looking)
    look()
    return ended


@implementer(IReadDescriptor)
class _ProcessDescriptor:
    """A pidfd in the reactor: readable once the process has ended (pidfd_open(2))."""

    def __init__(self, reactor: ProcessReactor, descriptor: int) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._close())
        self._reactor = reactor
        self._descriptor = descriptor
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._close()
        self.ended.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor removes all readers when it stops: nobody is told that the process ended."""
        self._close()

    def logPrefix(self) -> str:
        return "process watch"

    def _close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
