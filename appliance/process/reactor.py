"""What this package asks of the reactor."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")


class ProcessReactor(Protocol):
    """The time, process, descriptor and thread halves of a reactor (Twisted's own satisfy it)."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> IDelayedCall: ...

    def spawnProcess(self, processProtocol: Any, executable: Any, args: Any, env: Any, **k: Any) -> Any: ...

    def addReader(self, reader: Any) -> Any: ...

    def removeReader(self, reader: Any) -> Any: ...

    def addWriter(self, writer: Any) -> Any: ...

    def removeWriter(self, writer: Any) -> Any: ...

    def getThreadPool(self) -> Any: ...


def sleep(reactor: ProcessReactor, seconds: float) -> Deferred[None]:
    """Fires after `seconds`; cancelling it removes the timer."""
    return deferLater(cast(IReactorTime, reactor), seconds)


def within(reactor: ProcessReactor, seconds: float, waited: Deferred[T]) -> Deferred[T]:
    """`waited` itself, cancelled after `seconds` and then failing with Twisted's `TimeoutError`."""
    return waited.addTimeout(seconds, cast(IReactorTime, reactor))
