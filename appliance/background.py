"""The owner of work nobody waits for: logs its failures, and ends it at shutdown."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure


class Background:
    """Runs coroutines on behalf of a service."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()
        self._stopping = False

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run `coroutine`; its failure is logged under `name`. After `stop` it is dropped unrun."""
        if self._stopping:
            coroutine.close()
            return
        self.own(name, Deferred.fromCoroutine(_without_result(coroutine)))

    def repeat(
        self,
        name: str,
        clock: IReactorTime,
        work: Callable[[], Coroutine[Any, Any, object]],
        *,
        delay: float,
        interval: float,
    ) -> None:
        """
        Run `work()` after `delay` seconds, and again `interval` seconds after each time it has ended.

        A failure is logged under `name`, and the next time comes as if there had been none.
        """

        async def again() -> None:
            await deferLater(clock, delay)
            while True:
                try:
                    await work()
                except Exception:
                    if self._stopping:
                        raise
                    self._log.failure("background work {name} failed, it is tried again later", name=name)
                await deferLater(clock, interval)

        self.spawn(name, again())

    def own(self, name: str, task: Deferred[None]) -> None:
        """Look after a Deferred that has been started elsewhere."""
        self._running.add(task)
        _ = task.addErrback(self._report, name).addBoth(self._ended, task)

    def wait(self) -> Deferred[None]:
        """Fire when what runs now has ended."""
        done: Deferred[None] = Deferred()
        left = len(self._running)
        if not left:
            done.callback(None)
            return done

        def one_less(result: None) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.callback(None)

        for task in list(self._running):
            _ = task.addCallback(one_less)
        return done

    def stop(self) -> Deferred[None]:
        """Cancel everything; fire when all of it has ended."""
        self._stopping = True
        done = self.wait()
        for task in list(self._running):
            task.cancel()
        return done

    def _report(self, failure: Failure, name: str) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("background work {name} failed", name=name, failure=failure)
        else:
            failure.cleanFailure()  # its frames, down to those of who cancelled, would wait for the garbage collector

    def _ended(self, result: None, task: Deferred[None]) -> None:
        self._running.discard(task)


async def _without_result(coroutine: Coroutine[Any, Any, object]) -> None:
    await coroutine
