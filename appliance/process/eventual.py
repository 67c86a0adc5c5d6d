"""A result that any number can wait for, and coroutines that have an owner."""

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


class Eventual(Generic[T]):
    """
    One result, once. Each waiter has a Deferred of its own, so that cancelling one touches nobody else.

    A Deferred can be awaited by one only; this is the smallest thing that can be awaited by many.
    """

    def __init__(self) -> None:
        self._result: tuple[T] | Failure | None = None
        self._waiting: list[Deferred[T]] = []

    @property
    def known(self) -> bool:
        """Whether the result is there."""
        return self._result is not None

    def wait(self) -> Deferred[T]:
        """A new Deferred of the result."""
        if isinstance(self._result, Failure):
            return fail(self._result)
        if self._result is not None:
            return succeed(self._result[0])
        waiter: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def set(self, value: T) -> None:
        """Give the result; a second one is ignored."""
        if self._result is None:
            self._result = (value,)
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(value)

    def fail(self, failure: Failure) -> None:
        """Give a failure as the result, to those who wait and those who come later."""
        if self._result is None:
            self._result = failure
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.errback(failure)

    def refuse(self, error: Exception) -> None:
        """Give `error` as the result."""
        self.fail(Failure(error))


class Tasks:
    """Coroutines that run to their end whoever waits for them, owned by the one who holds this object."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: dict[Deferred[Any], Eventual[Any]] = {}

    def start(self, coroutine: Coroutine[Any, Any, T], doing: str) -> Deferred[T]:
        """
        Run `coroutine` and return a Deferred of its result; cancelling that Deferred detaches the waiter
        only.

        A failure that nobody waits for any more is logged as having happened while `doing`.
        """
        result: Eventual[T] = Eventual()
        waiter = result.wait()
        detached = False

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) is None and detached:
                self._log.failure("Failed while {doing}", failure, doing=doing)
            result.fail(failure)

        def detach(failure: Failure) -> Failure:
            nonlocal detached
            detached = True
            return failure

        _ = waiter.addErrback(detach)
        task = Deferred.fromCoroutine(coroutine)
        self._running[task] = result
        _ = task.addCallbacks(result.set, failed).addBoth(lambda _: self._running.pop(task))
        return waiter

    def background(self, coroutine: Coroutine[Any, Any, object], doing: str) -> None:
        """Run `coroutine` for its effect; a failure is logged as having happened while `doing`."""

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) is None:
                self._log.failure("Failed while {doing}", failure, doing=doing)

        _ = self.start(coroutine, doing).addErrback(failed)

    def finished(self) -> Deferred[None]:
        """Fires when all that run now have ended, however they did."""
        waits = [result.wait() for result in self._running.values()]
        return DeferredList(waits, consumeErrors=True).addCallback(lambda _: None)

    def cancel(self) -> None:
        """Cancel all that still run."""
        for task in list(self._running):
            task.cancel()
