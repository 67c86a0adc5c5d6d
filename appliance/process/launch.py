"""Starts a job's supervisor: in a systemd scope where there is one, so that stopping the server's unit
spares it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from appliance.process.child import STDOUT
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.output import Tail
from appliance.process.reactor import ProcessReactor
from appliance.process.run import ProcessRunner

SUPERVISOR = Path(__file__).with_name("supervisor.py")

_SYSTEMD_RUN = "/usr/bin/systemd-run"
_LOCK_DESCRIPTOR = 3
_READY_WITHIN = 60.0


def systemd_scope() -> Sequence[str]:
    """The prefix that puts a command into a systemd scope of its own; empty without systemd or without
    root."""
    if os.geteuid() == 0 and os.path.isdir("/run/systemd/system") and os.path.exists(_SYSTEMD_RUN):
        return (_SYSTEMD_RUN, "--scope", "--quiet", "--collect", "--")
    return ()


class Launcher:
    """Starts supervisors; `scope` is the prefix to try first."""

    _log = Logger()

    def __init__(
        self,
        reactor: ProcessReactor,
        runner: ProcessRunner,
        *,
        scope: Sequence[str] = (),
        supervisor: Path = SUPERVISOR,
    ) -> None:
        self._reactor = reactor
        self._runner = runner
        self._scope = scope
        self._supervisor = supervisor

    async def start(self, folder: Path, lock: int) -> None:
        """
        Start the supervisor of the job in `folder`, which inherits `lock`; return once its program is to run.

        Raises `ProcessError` with the supervisor's own words when it does not say that it is ready. Then
        the program has not run and will not, since it is let go only after that word: so trying again is
        safe.
        """
        command = [sys.executable, "-I", "-S", str(self._supervisor), str(folder)]
        if self._scope:
            try:
                await self._try([*self._scope, *command], lock)
                return
            except ProcessError as error:
                self._log.warn("No systemd scope for a job, it runs without: {error}", error=error)
        await self._try(command, lock)

    async def _try(self, command: Sequence[str], lock: int) -> None:
        ready: Eventual[bool] = Eventual()
        words = Tail(4096)

        def receive(descriptor: int, data: bytes) -> None:
            if descriptor == STDOUT:
                ready.set(True)
            else:
                words.add(data)

        child = self._runner.start(command, receive, inherit={_LOCK_DESCRIPTOR: lock}, owned=False)
        _ = child.wait().addBoth(lambda _: ready.set(False))
        timer = self._reactor.callLater(_READY_WITHIN, child.terminate)
        try:
            if not await ready.wait():
                text = words.content().decode(errors="replace").strip() or "it ended without a word"
                raise ProcessError(f"the supervisor could not start: {text}")
        finally:
            if timer.active():
                timer.cancel()
