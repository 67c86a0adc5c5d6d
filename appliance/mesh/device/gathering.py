"""Does at once what many ask for at the same time: whatever comes while one batch is at work goes into the next."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from appliance.background import Background
from appliance.mesh.errors import Overloaded
from appliance.process.eventual import Eventual

WAITING_LIMIT = 200_000

R = TypeVar("R")


class Gathering(Generic[R]):
    """Calls `work` with the nodes that are asked for, and a flag for each; its result is for all who wait for it.

    `background` owns the work, under `name`.
    """

    def __init__(self, background: Background, name: str, work: Callable[[Mapping[int, bool]], Awaitable[R]]) -> None:
        self._background = background
        self._name = name
        self._work = work
        self._waiting: dict[int, bool] = {}
        self._next: Eventual[R] = Eventual()
        self._at_work = False

    def ask(self, node_id: int, *, flag: bool = False) -> Deferred[R]:
        """
        The result of the batch that this node is in, which begins after this moment; `flag` holds if anybody sets it.

        Raises `Overloaded`; fails with what `work` raises.
        """
        if len(self._waiting) >= WAITING_LIMIT:
            raise Overloaded("more nodes wait than can be held")
        self._waiting[node_id] = self._waiting.get(node_id, False) or flag
        result = self._next.wait()
        if not self._at_work:
            self._at_work = True
            self._background.spawn(self._name, self._run())
        return result

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                done, self._next = self._next, Eventual()
                try:
                    done.set(await self._work(batch))
                except Exception:
                    done.fail(Failure())
        finally:
            self._at_work = False
