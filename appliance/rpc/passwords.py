"""Passwords of the rpc surface's users: local ones are compared here, those of the host by PAM."""

import math
import re

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger
from werkzeug.security import check_password_hash, generate_password_hash

from appliance.identity.passwords import PasswordChecker, TooManyChecks, Verdict
from appliance.process.eventual import Tasks
from appliance.process.reactor import ProcessReactor
from appliance.rpc.identities import Identities
from appliance.rpc.pauses import LoginPauses
from appliance.rpc.users_file import User
from appliance.secret import Secret
from appliance.threads import Threads

METHOD = "scrypt:32768:8:1"
"""RFC 7914 with the parameters OWASP names: 32 MiB and a tenth of a second for each try."""

MAX_PASSWORD = 1024
MAX_RUNNING = 2
MAX_QUEUED = 8

_SHOWN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def hash_password(password: Secret) -> str:
    """What the users file holds of a password. Blocks for a tenth of a second."""
    return generate_password_hash(password.reveal(), METHOD)


class Unchecked(Exception):
    """It cannot be known now whether a password is right; the text says why."""


class Passwords:
    """
    Whether a password is a user's, with pauses for those who guess.

    Every refusal takes the time that `PasswordChecker` gives to its own, so that nobody learns which names there are.
    It is logged in words that ban tools read.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ProcessReactor,
        threads: Threads,
        identities: Identities,
        host: PasswordChecker,
        pauses: LoginPauses,
    ) -> None:
        """`host` asks `pauses` and tells it by itself."""
        self._reactor = reactor
        self._threads = threads
        self._identities = identities
        self._host = host
        self._pauses = pauses
        self._slots = DeferredSemaphore(MAX_RUNNING)
        self._tasks = Tasks()

    async def check(self, username: str, password: Secret, address: str) -> bool:
        """
        Whether `password` is that of the user `username`, asked from `address`.

        Raises `TooManyChecks` at once, and `Unchecked`. A check goes on when the one who waits for it does not.
        """
        local = await self._identities.local(username)
        if local is not None:
            right = await self._check_local(username, local, password, address)
        else:
            verdict = await self._host.check(username, password, address)
            if verdict is Verdict.UNAVAILABLE:
                off = not self._host.enabled
                raise Unchecked(f"log-in is off: {self._host.why_not}" if off else "passwords cannot be checked now")
            right = verdict is Verdict.ACCEPTED
        if not right:
            self._pauses.told(username, address)
            shown = username if _SHOWN.fullmatch(username) else "invalid"
            self._log.warn("authentication failed for user {user} from {address}", user=shown, address=address)
        return right

    async def pad(self, began: float) -> None:
        """Wait until a log-in that `began` then (seconds of the clock) may be refused: for who refuses a right one."""
        await self._host.pad(began)

    async def stop(self) -> None:
        """Wait for the checks that run."""
        await self._host.stop()
        await self._tasks.finished()

    async def _check_local(self, username: str, user: User, password: Secret, address: str) -> bool:
        began = self._reactor.seconds()
        self._hold_back(username, address)
        if not self._slots.tokens and len(self._slots.waiting) >= MAX_QUEUED:
            raise TooManyChecks("too many passwords are being checked", 1)
        right = await self._tasks.start(self._decide(username, user, password, address), "checking a password")
        if not right:
            await self._host.pad(began)
        return right

    async def _decide(self, username: str, user: User, password: Secret, address: str) -> bool:
        await self._slots.acquire()
        try:
            self._hold_back(username, address)  # those before it in the queue may have failed
            right = await self._threads.run(_matches, user.password_hash or "", password)
        finally:
            self._slots.release()
        if right:
            self._pauses.succeeded(username, address)
        else:
            self._pauses.failed(username, address)
        return right

    def _hold_back(self, username: str, address: str) -> None:
        wait = self._pauses.retry_after(username, address)
        if wait > 0:
            raise TooManyChecks("too many failed log-ins", math.ceil(wait))


def _matches(hashed: str, password: Secret) -> bool:
    revealed = password.reveal()
    if not 0 < len(revealed) <= MAX_PASSWORD:
        return False
    try:
        return check_password_hash(hashed, revealed)
    except (ValueError, UnicodeEncodeError):  # a method that this machine lacks; a lone surrogate
        return False
