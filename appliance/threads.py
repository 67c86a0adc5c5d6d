"""Where blocking work on files goes: the reactor's thread pool, behind one awaitable call."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.threads import deferToThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking functions beside the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and return its result, or raise what it raises.

        Cancelling the wait does not interrupt the function: what it began, it ends.
        """
        pool = self._reactor.getThreadPool()
        result: T = await deferToThreadPool(self._reactor, pool, function, *args, **kwargs)
        return result
