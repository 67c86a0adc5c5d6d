"""A plugin's process that a zygote has forked: not our child, but its number is kept for us until we let go of it."""

import contextlib
import os
import signal
from collections.abc import Callable

from appliance.process.leader import SessionLeader
from appliance.process.reactor import ProcessReactor


class Forked(SessionLeader):
    """The leader of a call's session. `listen` hears what the zygote has said, `let_go` tells it to reap this."""

    def __init__(
        self, reactor: ProcessReactor, pid: int, listen: Callable[[], None], let_go: Callable[[], None]
    ) -> None:
        super().__init__(reactor, pid)
        self._listen = listen
        self._let_go = let_go
        self._handle = -1
        with contextlib.suppress(OSError):  # a kernel or sandbox without pidfd_open(2)
            self._handle = os.pidfd_open(pid)

    def look(self) -> None:
        self._listen()

    def reap(self) -> None:
        self._close()
        self._let_go()

    def orphan(self) -> None:
        """The zygote is gone: kill what still runs, for nobody will learn how it ends."""
        if not self.ended.known and self._is_ours():
            with contextlib.suppress(ProcessLookupError):
                self.signal_group(signal.SIGKILL)
        self._close()
        self.is_lost("the interpreter that it was forked from was killed, and it with it")

    def _is_ours(self) -> bool:
        """Whether the number is still that process's; somebody else may have reaped it."""
        if self._handle < 0:
            return True
        try:
            signal.pidfd_send_signal(self._handle, 0)
        except ProcessLookupError:
            return False
        return True

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
