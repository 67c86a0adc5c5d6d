"""The machine's users as they are now, or were a minute ago."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import DeferredSemaphore, TimeoutError

from appliance.identity import nss
from appliance.identity.nss import Account, read_account
from appliance.identity.passwords import USER_NAME
from appliance.process.eventual import Eventual, Tasks
from appliance.process.reactor import ProcessReactor, within
from appliance.threads import Threads

KEPT = 60.0
"""Seconds that what was found, and that nothing was found, is believed."""

LOOK_UP_LIMIT = 10.0
"""Seconds a caller waits for the name service."""

MAX_KEPT = 1000

_MAX_THREADS = 4
_MAX_QUEUED = 100


class AccountsUnavailable(Exception):
    """The name service failed or does not answer, so nobody knows what the user may do."""


@dataclass(frozen=True, slots=True)
class _Known:
    since: float
    account: Account | None


class Accounts:
    """Finds users; `read` and `absence_is_certain` block, and are called in threads. `reactor` is also the clock."""

    def __init__(
        self,
        reactor: ProcessReactor,
        threads: Threads,
        read: Callable[[str], Account | None] = read_account,
        absence_is_certain: Callable[[], bool] = nss.absence_is_certain,
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._read = read
        self._absence_is_certain = absence_is_certain
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, Eventual[Account | None]] = {}
        self._slots = DeferredSemaphore(_MAX_THREADS)
        self._tasks = Tasks()

    async def find(self, name: str) -> Account | None:
        """The user `name`, at most 60 s old; None where there is none. Raises `AccountsUnavailable`."""
        if USER_NAME.fullmatch(name) is None:
            return None
        known = self._known.get(name)
        now = self._reactor.seconds()
        if known is not None and known.since <= now < known.since + KEPT:
            return known.account
        asking = self._asking.get(name) or self._ask(name)
        try:
            return await within(self._reactor, LOOK_UP_LIMIT, asking.wait())
        except TimeoutError:
            raise AccountsUnavailable("the name service does not answer") from None

    async def absence_is_certain(self) -> bool:
        """Whether a user whom `find` has not found is gone for good: see `nss.absence_is_certain`."""
        return await self._threads.run(self._absence_is_certain)

    def forget(self, name: str) -> None:
        """Ask the machine at the next `find`: for whoever has just changed that user."""
        self._known.pop(name, None)
        self._asking.pop(name, None)  # it may have read what was there before

    def _ask(self, name: str) -> Eventual[Account | None]:
        if len(self._slots.waiting) >= _MAX_QUEUED:
            raise AccountsUnavailable("too many users are being looked up")
        asking = self._asking[name] = Eventual()
        self._tasks.background(self._look_up(name, asking), "looking up a user")
        return asking

    async def _look_up(self, name: str, asking: Eventual[Account | None]) -> None:
        """Read the user; whoever stops waiting leaves the thread at work, and its slot taken."""
        await self._slots.acquire()
        since = self._reactor.seconds()
        account: Account | None = None
        problem: Exception | None = None
        try:
            account = await self._threads.run(self._read, name)
        except OSError as error:
            problem = AccountsUnavailable(str(error))
        except Exception as error:
            problem = error
        finally:
            self._slots.release()
        if self._asking.get(name) is asking:  # else it was forgotten meanwhile
            del self._asking[name]
            if problem is None:
                self._keep(name, _Known(since, account))
        # Last, for whoever waits goes on at once.
        if problem is None:
            asking.set(account)
        else:
            asking.refuse(problem)

    def _keep(self, name: str, known: _Known) -> None:
        self._known.pop(name, None)
        if len(self._known) >= MAX_KEPT:
            del self._known[next(iter(self._known))]
        self._known[name] = known


def administrator(account: Account, admin_groups: Iterable[str]) -> bool:
    """Whether `account` is root or in one of the groups, as primary or as supplementary."""
    return account.uid == 0 or not account.groups.isdisjoint(admin_groups)
