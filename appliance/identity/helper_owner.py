"""Owns the password helper: starts it, does not trust it before it has refused a password, starts it anew."""

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.identity.helper_frames import (
    GREETING,
    Frames,
    Outcome,
    ProtocolError,
    Reply,
    Request,
    decode_reply,
    encode_request,
    frame,
)
from appliance.process.child import STDOUT, Ending
from appliance.process.command import ENVIRONMENT
from appliance.process.dialogue import Dialogue
from appliance.process.errors import ProcessError
from appliance.process.eventual import Eventual
from appliance.process.output import Tail
from appliance.process.reactor import ProcessReactor, sleep, within
from appliance.process.run import ProcessRunner

CHECK_LIMIT = 30.0
"""Seconds after which the helper ends a check."""

START_LIMIT = 20.0
"""Seconds the helper may take to say that it is there."""

READY_LIMIT = 10.0
"""Seconds a check waits for a helper that is being started."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 60.0

_MARGIN = 5.0
_STEADY = 60.0
_ROOT = Path(__file__).absolute().parents[2]


def helper_command(limit: float = CHECK_LIMIT) -> list[str]:
    """What starts the helper, whose checks may take `limit` seconds."""
    # -P: nothing from the working directory.
    return [sys.executable, "-P", "-m", "appliance.identity.pam_helper", f"{limit:g}"]


def helper_environment() -> Mapping[str, str]:
    """The helper's environment: the path as it is here, for it to find the same code."""
    return {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, (str(_ROOT), *sys.path)))}


class HelperOwner:
    """
    Asks the helper, and keeps one running.

    Each new helper first gets a random password for root. Only if that is refused are there log-ins; if it is accepted
    they stay off until the server is restarted, which is logged as critical with what to do. A helper that ends, or
    cannot check, is replaced after a pause that doubles from 0.2 to 60 seconds; checks wait for the next one.
    """

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, runner: ProcessRunner, command: Sequence[str] | None = None) -> None:
        self._reactor = reactor
        self._runner = runner
        self._command = helper_command() if command is None else list(command)
        self._settled: Eventual[None] = Eventual()
        self._talk: _Talk | None = None
        self._trusted = False
        self._keeping: Deferred[None] | None = None
        self.why_not = "The password helper has not started yet"
        self.by_su = False

    @property
    def enabled(self) -> bool:
        """Whether passwords can be checked now; `why_not` says why not, and `by_su` by what means."""
        return self._trusted

    def start(self) -> None:
        """Start the first helper; `ask` waits for it."""
        self._keeping = Deferred.fromCoroutine(self._keep()).addErrback(self._failed)

    async def stop(self) -> None:
        """End the helper and all checks in it; those who wait for one get `UNAVAILABLE`."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._switch_off("The server is stopping")
        self._settled.set(None)
        if self._talk is not None:
            await self._talk.end()

    async def ask(self, name: str, password: str, address: str) -> Reply:
        """Check one password; any trouble is a reply of `UNAVAILABLE` with the reason."""
        try:
            await within(self._reactor, READY_LIMIT, self._settled.wait())
        except TimeoutError:
            return Reply(0, Outcome.UNAVAILABLE, self.why_not)
        if self._talk is None or not self._trusted:
            return Reply(0, Outcome.UNAVAILABLE, self.why_not)
        talk = self._talk
        try:
            return await talk.ask(name, password, address)
        except _Silence as error:
            if talk is self._talk:
                self._await_another(str(error))
            return Reply(0, Outcome.UNAVAILABLE, str(error))

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = self._reactor.seconds()
            why = await self._serve()
            if why is None:
                return
            if self._reactor.seconds() - began > _STEADY:
                pause = FIRST_PAUSE
            self._await_another(why)
            self._log.error("Password helper: {why}; it is started again in {pause} s", why=why, pause=pause)
            await sleep(self._reactor, pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self) -> str | None:
        """Run one helper to its end and return why it ended; None where there must not be another one."""
        talk = self._talk = _Talk(self._reactor)
        try:
            talk.begin(self._runner, self._command)
            means = await talk.greeting()
            proof = await talk.ask("root", secrets.token_urlsafe(24), "")
            if proof.outcome == Outcome.UNAVAILABLE:
                return f"passwords cannot be checked by {means.reason}: {proof.reason}"
            if proof.outcome != Outcome.REFUSED:  # EXPIRED too: that comes after the password was taken for right
                self._refuse_for_good(means)
                return None
            self.by_su = means.outcome == Outcome.READY_SU
            self.why_not = ""
            self._trusted = True
            self._settled.set(None)
            self._log.info("Passwords are checked by {means}", means=_in_words(means))
            return await talk.ended()
        except (ProcessError, _Silence) as error:
            return str(error)
        finally:
            await talk.end()

    def _await_another(self, why: str) -> None:
        self._switch_off(why)
        if self._settled.known:  # else those who wait for it wait for the next helper
            self._settled = Eventual()

    def _refuse_for_good(self, means: Reply) -> None:
        service = "su" if means.outcome == Outcome.READY_SU else means.reason
        self._switch_off(
            f"{_in_words(means)} did not refuse a random password for root, so it may accept any. Correct"
            f" /etc/pam.d/{service} and what it includes (look for pam_permit and pam_rootok), then restart the service"
        )
        self._settled.set(None)
        self._log.critical("Log-in by password stays off. {why}", why=self.why_not)

    def _switch_off(self, why: str) -> None:
        self._trusted = False
        self.why_not = why

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("The owner of the password helper failed", failure)
            self._switch_off("The owner of the password helper failed, see the log")
            self._settled.set(None)


class _Silence(Exception):
    """The helper does not say what it should."""


class _Talk:
    """One helper process from its start to its end."""

    def __init__(self, reactor: ProcessReactor) -> None:
        self._reactor = reactor
        self._child: Dialogue | None = None
        self._frames = Frames()
        self._errors = Tail(2000)
        self._greeting: Eventual[Reply] = Eventual()
        self._ended: Eventual[str] = Eventual()
        self._waiting: dict[int, Eventual[Reply]] = {}
        self._last = GREETING

    def begin(self, runner: ProcessRunner, command: Sequence[str]) -> None:
        """Start the process. Raises `ProcessError`."""
        self._child = runner.converse(command, self._receive, env=helper_environment())
        _ = self._child.wait().addBoth(self._has_ended)

    async def greeting(self) -> Reply:
        """By what means the helper checks. Raises `_Silence`."""
        try:
            greeting = await within(self._reactor, START_LIMIT, self._greeting.wait())
        except TimeoutError:
            raise _Silence("it did not start in time") from None
        if greeting.outcome not in (Outcome.READY_PAM, Outcome.READY_SU):
            raise _Silence(greeting.reason)
        return greeting

    async def ask(self, name: str, password: str, address: str) -> Reply:
        """Have a password checked. Raises `_Silence`, and ends the helper, when it gives no answer."""
        if self._child is None or self._ended.known:
            return Reply(0, Outcome.UNAVAILABLE, "the helper has ended")
        self._last += 1
        number = self._last
        waiting = self._waiting[number] = Eventual()
        request = Request(number, name, address, bytearray(password.encode()))
        try:
            self._child.write(frame(encode_request(request)))
            return await within(self._reactor, CHECK_LIMIT + _MARGIN, waiting.wait())
        except (TimeoutError, ProcessError):
            self._child.terminate()  # it ends checks that hang, so it hangs itself
            raise _Silence("it does not answer") from None
        finally:
            del self._waiting[number]
            request.wipe()

    async def ended(self) -> str:
        """Wait for the end; return what there is to say about it."""
        return await self._ended.wait()

    async def end(self) -> None:
        """End it and wait until it is gone."""
        if self._child is not None:
            self._child.terminate()
            await self._ended.wait()

    def _receive(self, descriptor: int, data: bytes) -> None:
        if descriptor != STDOUT:
            self._errors.add(data)
            return
        rest = memoryview(data)
        while rest:
            room = self._frames.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self._frames.filled(count)
            rest = rest[count:]
            while (content := self._frames.take()) is not None:
                self._dispatch(decode_reply(content))

    def _dispatch(self, reply: Reply) -> None:
        if reply.number == GREETING:
            self._greeting.set(reply)
        elif reply.number in self._waiting:
            self._waiting[reply.number].set(reply)
        elif reply.number > self._last:
            raise ProtocolError("a reply to what was not asked")

    def _has_ended(self, ending: Ending | Failure) -> None:
        words = self._errors.content().decode(errors="replace").strip()
        if isinstance(ending, Failure):
            how = ending.getErrorMessage()
        elif ending.signal is not None:
            how = f"signal {ending.signal}"
        else:
            how = f"exit code {ending.exit_code}"
        why = f"it ended ({how}) {words}".strip()
        self._ended.set(why)  # first, for who gets a reply goes on at once, and may ask again
        for waiting in list(self._waiting.values()):
            waiting.set(Reply(0, Outcome.UNAVAILABLE, "the helper ended during the check"))
        self._greeting.set(Reply(GREETING, Outcome.UNAVAILABLE, why))


def _in_words(means: Reply) -> str:
    return means.reason if means.outcome == Outcome.READY_SU else f"PAM service {means.reason}"
