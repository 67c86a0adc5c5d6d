"""Whether a password is a user's: one question, whose refusals all look alike."""

import math
import re
from enum import Enum
from typing import Protocol

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from appliance.identity.helper_frames import MAX_PASSWORD, Outcome, Reply
from appliance.identity.helper_owner import HelperOwner
from appliance.process.eventual import Tasks
from appliance.process.reactor import ProcessReactor, sleep
from appliance.secret import Secret

REFUSAL_SECONDS = 2.0
"""What every refusal takes, or a whole multiple of it: more than a check by PAM, the delay of which is left out."""

SU_REFUSAL_SECONDS = 6.0
"""The same where su checks: it takes 1.5 to 4.5 s over a wrong password and nothing over an unknown user."""

MAX_RUNNING = 4
MAX_QUEUED = 8

USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?")
"""Names that are looked at. No other can be mistaken for an option by a program, or for a line of its own by a log."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Verdict(Enum):
    """What became of a check. `UNAVAILABLE` says nothing about the password."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class TooManyChecks(Exception):
    """Not checked: too many wait already, or too many failed. Try again after `retry_after` (whole) seconds."""

    def __init__(self, why: str, retry_after: int) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Backoff(Protocol):
    """Whom it lets wait, and how long; see `LoginBackoff`."""

    def retry_after(self, user: str, address: str) -> float:
        """Seconds until a password of `user` from `address` is looked at again; 0 = now."""

    def failed(self, user: str, address: str) -> None:
        """Note a password that was refused."""

    def succeeded(self, user: str, address: str) -> None:
        """Forget what counts against `user` from `address`."""


class PasswordChecker:
    """
    Checks passwords in the helper process: four at once, eight more in a queue.

    It asks the back-off before a check and again when the check's turn comes, and tells it the outcome as soon as that
    is known: of many guesses sent at once, those still in the queue at the fifth failure are not checked.
    """

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, helper: HelperOwner, backoff: Backoff) -> None:
        self._reactor = reactor
        self._helper = helper
        self._backoff = backoff
        self._slots = DeferredSemaphore(MAX_RUNNING)
        self._tasks = Tasks()

    @property
    def enabled(self) -> bool:
        """Whether passwords can be checked now."""
        return self._helper.enabled

    @property
    def why_not(self) -> str:
        """Where `enabled` is false, the reason and what to do, for whoever runs the machine."""
        return self._helper.why_not

    async def stop(self) -> None:
        """Wait for the checks that run; the helper has been stopped, so they end."""
        await self._tasks.finished()

    async def check(self, username: str, password: Secret | str, address: str) -> Verdict:
        """
        Whether `password` is that of the user `username`, asked from the client `address`.

        Anything but `ACCEPTED` comes after `REFUSAL_SECONDS` or a whole multiple, whatever the reason, which only the
        log tells. Raises `TooManyChecks` at once. A check goes on when the one who waits for it does not.
        """
        began = self._reactor.seconds()
        self._hold_back(username, address)
        if not self._slots.tokens and len(self._slots.waiting) >= MAX_QUEUED:
            raise TooManyChecks("too many passwords are being checked", 1)
        verdict = await self._tasks.start(self._decide(username, password, address), "checking a password")
        if verdict is not Verdict.ACCEPTED:
            await self.pad(began)
        return verdict

    async def pad(self, began: float) -> None:
        """Wait until a log-in that `began` then (seconds of the clock) may be refused: for who refuses a right one."""
        await sleep(self._reactor, self._pad(self._reactor.seconds() - began))

    async def _decide(self, username: str, password: Secret | str, address: str) -> Verdict:
        revealed = password.reveal() if isinstance(password, Secret) else password
        if USER_NAME.fullmatch(username) is None:
            return self._judge("", address, Reply(0, Outcome.REFUSED, "no possible user name"))
        if not _is_possible(revealed):
            return self._judge(username, address, Reply(0, Outcome.REFUSED, "no possible password"))
        await self._slots.acquire()
        try:
            self._hold_back(username, address)
            reply = await self._helper.ask(username, revealed, address)
            return self._judge(username, address, reply)
        finally:
            self._slots.release()

    def _hold_back(self, username: str, address: str) -> None:
        wait = self._backoff.retry_after(username, address)
        if wait > 0:
            raise TooManyChecks("too many failed log-ins", math.ceil(wait))

    def _judge(self, username: str, address: str, reply: Reply) -> Verdict:
        if reply.outcome == Outcome.ACCEPTED:
            self._backoff.succeeded(username, address)
            return Verdict.ACCEPTED
        facts = {"user": username, "address": address, "reason": reply.reason}
        if reply.outcome in (Outcome.REFUSED, Outcome.EXPIRED, Outcome.UNASKED):
            self._backoff.failed(username, address)
            self._log.info("Log-in of {user!r} from {address} refused: {reason}", **facts)
            return Verdict.REFUSED
        self._log.warn("Log-in of {user!r} from {address} could not be checked: {reason}", **facts)
        return Verdict.UNAVAILABLE

    def _pad(self, elapsed: float) -> float:
        """Seconds from `elapsed` to when a refusal may be told."""
        unit = SU_REFUSAL_SECONDS if self._helper.by_su else REFUSAL_SECONDS
        return max(1, math.ceil(elapsed / unit)) * unit - elapsed


def _is_possible(password: str) -> bool:
    """Whether it is worth asking for. An empty one must not reach PAM, where `nullok` may let it pass."""
    if not password or _CONTROL.search(password):
        return False
    try:
        return len(password.encode()) <= MAX_PASSWORD
    except UnicodeEncodeError:  # a lone surrogate
        return False
