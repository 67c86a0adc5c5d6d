"""The network of this machine: one object that holds its parts together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import DeferredLock

from appliance.database.audit import AuditLog
from appliance.host.errors import Conflict, Unavailable
from appliance.host.job_status import JobStatuses
from appliance.host.network import state
from appliance.host.network.carriers import Origin, carriers
from appliance.host.network.change import Before, Change, Prepared
from appliance.host.network.interfaces import Interfaces
from appliance.host.network.netlink import KernelRefusal, Netlink
from appliance.host.network.rollback import PendingRollback, Rollbacks
from appliance.process.jobs import Jobs
from appliance.threads import Threads

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a change is made.

    `origin` is where it is asked from, whose way is spared unless `force`; `rollback` the seconds after which it is
    undone unless it is confirmed, None for never; `owner` who asks.
    """

    origin: Origin
    owner: str = ""
    force: bool = False
    rollback: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was changed, in words, and what it waits for."""

    message: str
    rollback: PendingRollback | None = None


class Network:
    """`interfaces`, and changes, one at a time. Made before the jobs are adopted, started after."""

    def __init__(self, reactor: Any, threads: Threads, jobs: Jobs, statuses: JobStatuses, audit_log: AuditLog) -> None:
        self._threads = threads
        self._lock = DeferredLock()
        self._rollbacks = Rollbacks(threads, jobs, statuses, audit_log)
        self.interfaces = Interfaces(reactor, threads)

    def start(self) -> None:
        """Begin to listen for changes. Raises OSError."""
        self.interfaces.start()

    def stop(self) -> None:
        """End what `start` began."""
        self.interfaces.stop()

    async def make(self, change: Change, terms: Terms) -> Done:
        """Make a change, whole or not at all. Raises a `HostError`."""
        await self._lock.acquire()
        try:
            await self._rollbacks.refuse_if_pending()
            prepared = await self._threads.run(_prepare, change, terms)
            work = partial(_make, prepared)
            if terms.rollback is None:
                await self._threads.run(work)
                return Done(prepared.message)
            if prepared.irreversible:
                raise Conflict(f"This cannot be done with rollback: {prepared.irreversible}")
            pending = await self._rollbacks.make(prepared.what, prepared.undo, terms.rollback, terms.owner, work)
            return Done(prepared.message, pending)
        finally:
            self._lock.release()

    async def confirm(self) -> str:
        """Let the change that waits for it stay; what it was. Raises `Conflict`."""
        await self._lock.acquire()  # a change is confirmed when it is made, not before
        try:
            return await self._rollbacks.confirm()
        finally:
            self._lock.release()


def _prepare(change: Change, terms: Terms) -> Prepared:
    def prepare(net: Netlink) -> Prepared:
        found = state.read(net)
        return change.prepare(Before(net, found, carriers(net, found, terms.origin, force=terms.force)))

    return _with_netlink(prepare)


def _make(prepared: Prepared) -> None:
    _with_netlink(prepared.make)


def _with_netlink(work: Callable[[Netlink], T]) -> T:
    try:
        with Netlink() as net:
            return work(net)
    except (OSError, KernelRefusal) as error:
        raise Unavailable(f"The network cannot be changed: {error}") from error
