"""Work that many may ask for at the same time and that is done once for all of them."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from appliance.process.eventual import Eventual

T = TypeVar("T")


class Shared(Generic[T]):
    """Runs one coroutine function, never twice at once.

    It runs to its end whoever stops waiting, so it must bound its own waits. A failure goes to those who wait.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._running: Eventual[T] | None = None

    def result(self) -> Deferred[T]:
        """The result of the run under way, or of one that begins now. Cancelling it touches nobody else."""
        running = self._running
        if running is None:
            running = self._running = Eventual()
            task = Deferred.fromCoroutine(self._work()).addBoth(self._ended)
            _ = task.addCallbacks(running.set, running.fail)
        return running.wait()

    def _ended(self, result: Any) -> Any:
        self._running = None
        return result
