"""Run a coroutine at once, and pay for a Deferred only when it has to wait.

Most handlers answer from memory; for those the Deferred chain would cost more than the handler.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T | Deferred[T]:
    """Start `coroutine`; return its result, or a Deferred of it when it waits for something.

    Raises what the coroutine raises before its first wait. Cancelling the Deferred cancels what it waits for.
    """
    try:
        waiting_for = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    return Deferred.fromCoroutine(_finish(coroutine, waiting_for))


async def _finish(coroutine: Coroutine[Any, Any, T], waiting_for: Any) -> T:
    result: T = await _Started(coroutine, waiting_for)
    return result


class _Started:
    """Makes a coroutine that has run up to its first wait awaitable again (the loop of PEP 380, for coroutines)."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waiting_for: Any) -> None:
        self._coroutine = coroutine
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waiting_for = self._waiting_for
        while True:
            try:
                sent = yield waiting_for
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                step: Callable[[Any], Any] = self._coroutine.throw
                argument: Any = error
            else:
                step, argument = self._coroutine.send, sent
            try:
                waiting_for = step(argument)
            except StopIteration as stop:
                return stop.value
