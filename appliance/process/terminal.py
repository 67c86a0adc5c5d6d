"""A program on a terminal of its own (pty(7)): a login shell, run as its user."""

import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet import fdesc
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.child import TERMINATE_GRACE, Ending
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual, Tasks
from appliance.process.reactor import ProcessReactor, sleep

_HANG_UP = (signal.SIGHUP, signal.SIGCONT)  # a stopped process gets the first by the second
_LOOK_INTERVAL = 0.1
_KILL_SECONDS = 1.0

CHILD = Path(__file__).with_name("terminal_child.py")

READ_SIZE = 1 << 16
"""Bytes that are taken in one turn of the reactor; the kernel gives them in pieces of 4 KiB."""


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's window in characters."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a program runs: uid, gid and all of its supplementary groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class Terminal(ProcessProtocol):
    """
    A program on its terminal. `receive` is called with each piece of its output.

    `pause` and `resume` hold the program back as a slow reader needs it: the kernel's buffer fills, and it waits.

    How it ends: when the program has, the rest of its session is hung up, and killed after five seconds; what stands
    in the terminal's buffer is read, and then it is over, whoever else has the terminal open.
    """

    transport: Any  # twisted.internet.process.Process
    _log = Logger()

    def __init__(self, reactor: ProcessReactor, screen: int, receive: Callable[[bytes], None]) -> None:
        """`screen` is our side of the terminal, which is closed with it."""
        self.pid = 0
        self._reactor = reactor
        self._screen = _Screen(reactor, screen, receive, self._changed)
        self._ending: Ending | None = None
        self._finished: Eventual[Ending] = Eventual()
        self._tasks = Tasks()
        self._is_ending = False
        self._change: Deferred[None] | None = None

    def wait(self) -> Deferred[Ending]:
        """How it ended, once it is reaped, its session gone and all of its output received."""
        return self._finished.wait()

    def write(self, data: bytes) -> None:
        """Type `data`; whoever has much of it awaits `writable` in between."""
        self._screen.write(data)

    async def writable(self) -> None:
        """Return when the program has read what was typed, or has ended."""
        await self._screen.writable()

    def resize(self, size: Size) -> None:
        """Give the window another size; the program is told by SIGWINCH (tty_ioctl(4))."""
        if not self._screen.disconnected:
            _set_size(self._screen.fd, size)

    def pause(self) -> None:
        """Read no more of its output."""
        self._screen.pauseProducing()

    def resume(self) -> None:
        """Read its output again."""
        self._screen.resumeProducing()
        self._changed()

    def terminate(self) -> None:
        """Hang up: all of its session gets SIGHUP, and KILL after five seconds. What it still prints is dropped.

        Returns at once; `wait` tells the end.
        """
        self._screen.close()
        if self._ending is None:
            _signal([self.pid], _HANG_UP)  # it may not have its session yet
        self._begin_to_end()

    def discard(self) -> None:
        """Let go of a terminal on which no program runs."""
        self._screen.close()

    # What Twisted calls

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def processExited(self, reason: Failure) -> None:
        status = cast(ProcessTerminated, reason.value)  # ProcessDone has the same fields
        self._ending = Ending(status.exitCode, status.signal)
        self._begin_to_end()
        self._changed()

    # How it ends

    def _begin_to_end(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._tasks.background(self._end(), "ending a terminal")

    async def _end(self) -> None:
        await self._end_session()
        while self._ending is None or not self._screen.is_drained():
            if self._ending is None or self._screen.paused:
                self._change = Deferred()
                await self._change
            else:
                await sleep(self._reactor, 0)
        self._screen.close()
        self._finished.set(self._ending)

    async def _end_session(self) -> None:
        """Hang up all who are left in it, and kill those who stay; return when they are gone."""
        for numbers, seconds in ((_HANG_UP, TERMINATE_GRACE), ((signal.SIGKILL,), _KILL_SECONDS)):
            deadline = self._reactor.seconds() + seconds
            left = await self._signal_session(numbers)
            while left and self._reactor.seconds() < deadline:
                await sleep(self._reactor, _LOOK_INTERVAL)
                left = await self._signal_session(())
            if not left:
                return
        self._log.warn("Processes of session {pid} cannot be ended", pid=self.pid)

    async def _signal_session(self, numbers: Sequence[int]) -> bool:
        """Signal its processes; whether there are any. In a thread, for the whole machine is looked through."""
        pool = self._reactor.getThreadPool()
        found: bool = await deferToThreadPool(cast(Any, self._reactor), pool, _signal_members, self.pid, numbers)
        return found

    def _changed(self) -> None:
        if self._change is not None:
            change, self._change = self._change, None
            change.callback(None)


class _Screen(FileDescriptor):
    """Our side of the terminal; `closed` is called once, when nobody has it open any more or `close` was called."""

    def __init__(
        self, reactor: ProcessReactor, fd: int, receive: Callable[[bytes], None], closed: Callable[[], None]
    ) -> None:
        super().__init__(cast(Any, reactor))
        self.fd = fd
        self.paused = False
        self._receive = receive
        self._closed = closed
        self._pieces = 0
        self._typist = _Typist()
        os.set_blocking(fd, False)
        self.connected = 1
        self.registerProducer(self._typist, True)
        self.startReading()

    def fileno(self) -> int:
        return self.fd

    def doRead(self) -> Any:
        """Take what is there, some 64 KiB at the most; a result says that nobody has the terminal open any more."""
        pieces: list[bytes] = []
        left = READ_SIZE
        end: Exception | None = None
        while left > 0:
            try:
                piece = os.read(self.fd, left)
            except BlockingIOError:
                break
            except OSError:  # EIO: the last one has closed it
                end = CONNECTION_LOST
                break
            pieces.append(piece)
            left -= len(piece)
        if pieces:
            self._pieces += len(pieces)
            self._receive(b"".join(pieces))
        return end

    def is_drained(self) -> bool:
        """Whether nothing is left to be read. What is there is read, and then there may be more."""
        if self.disconnected:
            return True
        if self.paused:
            return False
        before = self._pieces
        return self.doRead() is not None or self._pieces == before

    def writeSomeData(self, data: bytes) -> Any:
        return fdesc.writeToFD(self.fd, data)

    def pauseProducing(self) -> None:
        self.paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        super().resumeProducing()

    async def writable(self) -> None:
        """Return when what was typed has gone to the kernel, or the terminal is closed."""
        await self._typist.writable()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.disconnected:
            return
        super().connectionLost(reason)
        # The number may be another's in a moment, and must not be taken for ours by the reactor then.
        fd, self.fd = self.fd, -1
        os.close(fd)
        self._closed()
        del self._receive, self._closed  # they belong to those whose screen this is: nothing shall wait for gc

    def close(self) -> None:
        """Close it: the kernel hangs up on all who have it open."""
        self.connectionLost()


@implementer(IPushProducer)
class _Typist:
    """The producer of what is typed, which the terminal tells when the program does not read it."""

    def __init__(self) -> None:
        self._full = False
        self._waiting: list[Deferred[None]] = []

    async def writable(self) -> None:
        if self._full:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()


def open_terminal(
    reactor: ProcessReactor,
    program: str,
    argv: Sequence[str],
    receive: Callable[[bytes], None],
    *,
    size: Size,
    env: Mapping[str, str],
    cwd: str,
    identity: Identity | None = None,
) -> Terminal:
    """
    Start `program` (an absolute path) with the argument list `argv` on a new terminal, as `identity` or as we are.

    A program that cannot be executed says so on the terminal. Raises `ProcessError` where there is none to be had.
    """
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        raise ProcessError(f"cannot open a terminal: {error}") from error
    terminal = Terminal(reactor, ours, receive)
    line = [sys.executable, "-I", "-S", str(CHILD), *_identity(identity), cwd, program, *argv]
    try:
        _set_size(theirs, size)
        if identity is not None:
            os.fchown(theirs, identity.uid, -1)
        reactor.spawnProcess(terminal, line[0], line, dict(env), childFDs={0: theirs, 1: theirs, 2: theirs})
    except (OSError, ValueError) as error:
        terminal.discard()
        raise ProcessError(f"cannot start {program}: {error}") from error
    finally:
        os.close(theirs)
    return terminal


def _identity(identity: Identity | None) -> list[str]:
    if identity is None:
        return ["-", "-", "-"]
    return [str(identity.uid), str(identity.gid), ",".join(map(str, identity.groups))]


def _set_size(descriptor: int, size: Size) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def _signal_members(session: int, numbers: Sequence[int]) -> bool:
    """Signal the processes of a session; whether there are any (zombies do not count)."""
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    state, _, _, its_session, *_ = file.read().rpartition(b")")[2].split()  # proc(5), stat
            except OSError:
                continue
            if int(its_session) == session and state not in (b"Z", b"X"):
                members.append(int(name))
    _signal(members, numbers)
    return bool(members)


def _signal(pids: Iterable[int], numbers: Sequence[int]) -> None:
    for pid in pids:
        for number in numbers:
            # Not found: it has just ended. Not permitted: set-user-ID, and we are not root; the hang-up reaches it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
