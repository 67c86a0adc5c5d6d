"""Work that many may ask for at the same time and that is done once for all of them."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

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


class Fresh(Generic[T]):
    """Runs one coroutine function for all who ask, never twice at once, and gives nobody what began before he asked.

    Who asks while it runs shares the next run, which begins when this one ends. It runs to its end whoever stops
    waiting, so it must bound its own waits. A failure goes to those who wait for that run.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._runs = False
        self._next: Eventual[T] | None = None

    def result(self) -> Deferred[T]:
        """The result of the next run. Cancelling it touches nobody else."""
        if self._next is None:
            self._next = Eventual()
        waiting = self._next.wait()
        if not self._runs:
            self._run()
        return waiting

    def _run(self) -> None:
        wanted, self._next = self._next, None
        if wanted is not None:
            self._runs = True
            task = Deferred.fromCoroutine(self._work()).addBoth(self._ended)
            _ = task.addCallbacks(wanted.set, wanted.fail)

    def _ended(self, result: Any) -> Any:
        self._runs = False
        self._run()
        return result


class Recent(Generic[T]):
    """What a coroutine function found out at most `seconds` ago, once for all who ask; a failure is not kept."""

    def __init__(self, clock: IReactorTime, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> None:
        self._clock = clock
        self._work = work
        self._seconds = seconds
        self._shared = Shared(self._find_out)
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        """The result. Raises what the function raises."""
        # Also not what was found in the future, which a clock that was set back leaves.
        if self._found is not None and 0 <= self._clock.seconds() - self._found[0] < self._seconds:
            return self._found[1]
        return await self._shared.result()

    async def _find_out(self) -> T:
        began = self._clock.seconds()
        result = await self._work()
        self._found = began, result
        return result
