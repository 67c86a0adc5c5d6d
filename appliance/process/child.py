"""The one process protocol: a child alone in its session, ended as a group, its pipes never waited for.

How a child ends. The kernel tells of its exit; what is left in its pipes is read for a short while, and
then they are closed, since a grandchild that inherited one (a daemon started by a script) could hold it for
ever. Terminating means TERM to the whole group, and KILL to it as soon as the child itself is gone or after
five seconds.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IPullProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.process.command import in_own_session
from appliance.process.descriptors import duplicate_above
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.reactor import ProcessReactor

STDOUT = 1
STDERR = 2

TERMINATE_GRACE = 5.0
"""Seconds between TERM and KILL."""

PIPE_GRACE = 0.2
"""Seconds a child's pipes stay open after its exit."""

PIPE_CAPACITY = 1 << 20
"""The most a pipe can hold (pipe(7), /proc/sys/fs/pipe-max-size): what a child that ended can have left
behind."""

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: by `exit_code`, or by `signal`."""

    exit_code: int | None
    signal: int | None


class Child(ProcessProtocol):
    """
    A child process of ours.

    `receive` is called with the descriptor (`STDOUT`, `STDERR`) and bytes; if it raises, the child is
    terminated and whoever waits gets that error.
    """

    _log = Logger()

    transport: Any  # twisted.internet.process.Process, which its declared interface shows only half of

    def __init__(self, reactor: ProcessReactor, receive: Callable[[int, bytes], None], stdin: bytes = b"") -> None:
        self.pid = 0
        self.ending: Ending | None = None
        self._reactor = reactor
        self._receive = receive
        self._stdin = stdin
        self._finished: Eventual[Ending] = Eventual()
        self._failure: Failure | None = None
        self._terminating = False
        self.paused = False
        self._received = 0
        self._kill: IDelayedCall | None = None
        self._grace: IDelayedCall | None = None

    def wait(self) -> Deferred[Ending]:
        """Its ending, once it is reaped and its pipes are closed. Cancelling this touches nobody else."""
        return self._finished.wait()

    def terminate(self) -> None:
        """End the child and all of its group. Returns at once; `wait` tells when it is done."""
        if self._terminating or self._finished.known:
            return
        self._terminating = True
        if self.ending is not None:
            self._await_pipes()
            return
        self._signal_group(signal.SIGTERM)
        self._kill = self._reactor.callLater(TERMINATE_GRACE, self._signal_group, signal.SIGKILL)

    def pause(self) -> None:
        """Stop reading its output: the child waits once its pipes are full."""
        self.paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read its output again."""
        self.paused = False
        self.transport.resumeProducing()
        if self.ending is not None:
            self._await_pipes()

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        if self._stdin:
            self.transport.registerProducer(_Feed(self.transport, self._stdin), False)
        else:
            self.transport.closeStdin()
        self._stdin = b""

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._received += len(data)
        if self._failure is not None:
            return
        try:
            self._receive(childFD, data)
        except Exception:
            self._failure = Failure()
            self.terminate()

    def processExited(self, reason: Failure) -> None:
        # Called in the same breath as waitpid: the number of the group cannot have been given to others yet.
        status = cast(ProcessTerminated, reason.value)  # ProcessDone has the same fields
        self.ending = Ending(status.exitCode, status.signal)
        if self._kill is not None and self._kill.active():
            self._kill.cancel()
        if self._terminating:
            self._signal_group(signal.SIGKILL)
        self._await_pipes()

    def processEnded(self, reason: Failure) -> None:
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        if self._failure is not None:
            self._finished.fail(self._failure)
        elif self.ending is not None:
            self._finished.set(self.ending)

    def _await_pipes(self) -> None:
        """Give the pipes their grace."""
        if self._grace is None or not self._grace.active():
            self._grace = self._reactor.callLater(PIPE_GRACE, self._drain, -1, self._received)

    def _drain(self, before: int, at_exit: int) -> None:
        """
        Close the pipes once a turn of the reactor brought nothing more.

        The grace may have passed while the reactor was busy and read nothing, so time alone must not decide.
        """
        if self.paused and not self._terminating:
            return  # `resume` begins the grace again
        if self._received != before and self._received - at_exit < PIPE_CAPACITY:
            self._grace = self._reactor.callLater(0, self._drain, self._received, at_exit)
            return
        # Not loseConnection: with unsent data that waits for somebody to read standard input.
        for pipe in list(self.transport.pipes.values()):
            pipe.connectionLost(Failure(ConnectionDone()))

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            if self.ending is None:  # not past setsid(1) yet: still in our own group, and alone
                os.kill(self.pid, number)
        except PermissionError:
            self._log.warn("Process group {pid} runs as another user and cannot be signalled", pid=self.pid)


@implementer(IPullProducer)
class _Feed:
    """Standard input in pieces, as fast as the child reads, then the end of it."""

    def __init__(self, transport: Any, data: bytes) -> None:
        self._transport = transport
        self._rest = memoryview(data)

    def resumeProducing(self) -> None:
        if self._rest:
            piece, self._rest = self._rest[:_CHUNK], self._rest[_CHUNK:]
            self._transport.write(bytes(piece))
        else:
            self._transport.unregisterProducer()
            self._transport.closeStdin()

    def stopProducing(self) -> None:
        self._rest = memoryview(b"")


def spawn(
    reactor: ProcessReactor,
    child: Child,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    inherit: Mapping[int, int] | None = None,
) -> None:
    """
    Start `argv` (its program an absolute path) as `child`; raises `ProcessError` where the system refuses.

    `inherit` maps descriptors of the child, above 2, to descriptors of ours, which stay ours to close.
    """
    line = in_own_session(argv, cwd)
    wanted = inherit or {}
    copies = {number: duplicate_above(ours, 1 + max(wanted)) for number, ours in wanted.items()}
    try:
        descriptors: dict[int, str | int] = {0: "w", 1: "r", 2: "r", **copies}
        reactor.spawnProcess(child, line[0], line, dict(env), childFDs=descriptors)
    except (OSError, ValueError) as error:
        raise ProcessError(f"cannot start {argv[0]}: {error}") from error
    finally:
        for copy in copies.values():
            os.close(copy)
