"""A program on a terminal of its own (pty(7)): a login shell, run as its user.

Unlike other children it is made by fork: only the child itself can take the terminal as its controlling one. The user's
identity comes with that fork as well (initgroups, setgid, setuid), before the program is executed.
"""

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.child import TERMINATE_GRACE, Ending
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.reactor import ProcessReactor


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's window in characters."""

    rows: int
    columns: int


@implementer(IPushProducer)
class Terminal(ProcessProtocol):
    """
    A program on its terminal. `receive` is called with each piece of its output.

    `pause` and `resume` hold the program back as a slow reader needs it: the kernel's buffer fills, and it waits.
    Towards the program it is the producer of its own input: what it does not read yet waits, see `writable`.
    """

    transport: Any  # twisted.internet.process.PTYProcess, which its declared interface shows only half of

    def __init__(self, reactor: ProcessReactor, receive: Callable[[bytes], None]) -> None:
        self.pid = 0
        self._reactor = reactor
        self._receive = receive
        self._ending: Ending | None = None
        self._finished: Eventual[Ending] = Eventual()
        self._terminating = False
        self._kill: IDelayedCall | None = None
        self._full = False
        self._writers: list[Deferred[None]] = []

    def wait(self) -> Deferred[Ending]:
        """How it ended, once it is reaped and all of its output was received."""
        return self._finished.wait()

    def write(self, data: bytes) -> None:
        """Type `data`; whoever has much of it awaits `writable` in between."""
        if not self._finished.known:
            self.transport.write(data)

    async def writable(self) -> None:
        """Return when the program has read what was typed, or has ended."""
        if self._full:
            waiting: Deferred[None] = Deferred(self._writers.remove)
            self._writers.append(waiting)
            await waiting

    def resize(self, size: Size) -> None:
        """Give the window another size; the program is told by SIGWINCH (tty_ioctl(4))."""
        if not self._finished.known:
            _set_size(self.transport.fd, size)

    def pause(self) -> None:
        """Read no more of its output."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read its output again."""
        if not self._finished.known:
            self.transport.resumeProducing()

    def terminate(self) -> None:
        """Hang up: SIGHUP to all of its session, KILL after five seconds. Returns at once; `wait` tells the end."""
        if self._terminating or self._finished.known:
            return
        self._terminating = True
        self.resume()
        self._signal_session(signal.SIGHUP)
        self._signal_session(signal.SIGCONT)
        self._kill = self._reactor.callLater(TERMINATE_GRACE, self._signal_session, signal.SIGKILL)

    # What Twisted calls

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self.transport.registerProducer(self, True)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if not self._terminating:
            self._receive(data)

    def processExited(self, reason: Failure) -> None:
        status = cast(ProcessTerminated, reason.value)  # ProcessDone has the same fields
        self._ending = Ending(status.exitCode, status.signal)

    def processEnded(self, reason: Failure) -> None:
        if self._terminating and _session_members(self.pid):
            return  # the rest of its session has not gone yet: `_signal_session` ends it
        self._end()

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._wake()

    def stopProducing(self) -> None:
        self._full = False
        self._wake()

    def _wake(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.callback(None)

    def _signal_session(self, number: signal.Signals) -> None:
        for pid in _session_members(self.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if number is signal.SIGKILL and self._ending is not None:
            self._end()

    def _end(self) -> None:
        if self._kill is not None and self._kill.active():
            self._kill.cancel()
        self.stopProducing()
        if self._ending is not None:
            self._finished.set(self._ending)


def open_terminal(
    reactor: ProcessReactor,
    program: str,
    argv: Sequence[str],
    receive: Callable[[bytes], None],
    *,
    size: Size,
    env: Mapping[str, str],
    cwd: str,
    uid: int | None = None,
    gid: int | None = None,
) -> Terminal:
    """
    Start `program` (an absolute path) with the argument list `argv` on a new terminal.

    With `uid` and `gid` (given both or neither) it runs as that user with all his groups. Raises `ProcessError`.
    """
    terminal = Terminal(reactor, receive)
    if not os.access(program, os.X_OK):
        raise ProcessError(f"cannot start {program}: it is not executable")
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        raise ProcessError(f"cannot open a terminal: {error}") from error
    try:
        _set_size(theirs, size)
        if uid is not None and gid is not None:
            os.fchown(theirs, uid, -1)
        reactor.spawnProcess(
            terminal, program, list(argv), dict(env), path=cwd, uid=uid, gid=gid, usePTY=(ours, theirs, "")
        )
    except (OSError, ValueError) as error:
        os.close(ours)
        os.close(theirs)
        raise ProcessError(f"cannot start {program}: {error}") from error
    return terminal


def _set_size(descriptor: int, size: Size) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def _session_members(session: int) -> list[int]:
    """The processes of a session (proc(5), stat, field 6), zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
                found.append(int(entry.name))
    return found
