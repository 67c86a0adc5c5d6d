"""
The quick way to start a program: posix_spawn in a session of its own, without an exec prefix and without a fork.

The child has our working directory and umask (see `surroundings`), no signal ignored or blocked, the environment and
the descriptors that it is given and no others: all of ours are closed on exec (see `descriptors`). Twisted's
`spawnProcess` cannot make a session, and setsid(1) before the program costs half a millisecond.
"""

import os
import signal
from collections.abc import Mapping, Sequence

from twisted.internet.process import registerReapProcessHandler, unregisterReapProcessHandler

from appliance.process.child import Ending
from appliance.process.errors import ProcessError
from appliance.process.leader import SessionLeader
from appliance.process.reactor import ProcessReactor

_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class OwnChild(SessionLeader):
    """A session leader that is our own child: Twisted's handler of SIGCHLD asks it for news."""

    def __init__(self, reactor: ProcessReactor, pid: int) -> None:
        super().__init__(reactor, pid)
        registerReapProcessHandler(pid, self)

    def look(self) -> None:
        try:
            news = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            unregisterReapProcessHandler(self.pid, self)
            self.is_lost("somebody else has reaped it")
            return
        if news is not None:
            exited = news.si_code == os.CLD_EXITED
            self.has_ended(Ending(news.si_status, None) if exited else Ending(None, news.si_status))

    def reap(self) -> None:
        os.waitpid(self.pid, 0)
        unregisterReapProcessHandler(self.pid, self)

    # What Twisted calls

    def reapProcess(self) -> None:
        """Some child has ended, this one maybe."""
        self.look()

    def processEnded(self, status: int) -> None:
        """It had ended before it was registered, and is reaped already."""
        code = os.waitstatus_to_exitcode(status)
        self.ended.set(Ending(code, None) if code >= 0 else Ending(None, -code))


def spawn(
    reactor: ProcessReactor, argv: Sequence[str], *, env: Mapping[str, str], descriptors: Mapping[int, int]
) -> OwnChild:
    """
    Start `argv`, whose program is an absolute path, with the whole environment `env`.

    `descriptors` maps the numbers that the child gets to descriptors of ours, which lie above all of these numbers
    and stay ours to close. Raises `ProcessError`, also where the program cannot be executed.
    """
    actions = [(os.POSIX_SPAWN_DUP2, ours, number) for number, ours in descriptors.items()]
    if min(descriptors.values()) <= max(descriptors):
        raise ValueError("a descriptor to hand down has a number that the child is to get")
    try:
        pid = os.posix_spawn(
            argv[0], tuple(argv), env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_SIGNALS
        )
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ProcessError(f"cannot start {argv[0]}: {reason}") from error
    return OwnChild(reactor, pid)
