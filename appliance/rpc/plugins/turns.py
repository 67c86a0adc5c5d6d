"""Bounded, fair parallelism: who may run something now, and who comes next."""

from collections import Counter, OrderedDict, deque

from twisted.internet.defer import Deferred


class Crowded(Exception):
    """Too many wait already, or nobody is served any more."""


class Turns:
    """
    At most `limit` turns at once. Callers are served round robin, each in the order in which it asked.

    No caller gets all turns: a quarter of them is kept for others, so that one whose calls all hang stops nobody else.
    At most `waiting_limit` wait, with at most `size_limit` bytes that they hold meanwhile.
    """

    def __init__(self, limit: int, *, waiting_limit: int = 1000, size_limit: int = 256 << 20) -> None:
        self._limit = limit
        self._share = limit - limit // 4
        self._waiting_limit = waiting_limit
        self._size_limit = size_limit
        self._size = 0
        self._running: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[Deferred[None], int]]] = OrderedDict()
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._queues.values())

    async def take(self, caller: str, size: int) -> None:
        """
        Wait for a turn, which `give_back` ends. Raises `Crowded`.

        `size` is what the waiting itself keeps in memory, in bytes. Cancelling leaves the queue.
        """
        if self._closed:
            raise Crowded("nobody is served any more")
        if caller not in self._queues and self._is_free_for(caller):
            self._running[caller] += 1
            return
        if self.waiting >= self._waiting_limit or self._size + size > self._size_limit:
            raise Crowded("too many calls wait for their turn")
        entry: tuple[Deferred[None], int]
        turn: Deferred[None] = Deferred(lambda _: self._leave(caller, entry))
        entry = (turn, size)
        self._queues.setdefault(caller, deque()).append(entry)
        self._size += size
        await turn

    def give_back(self, caller: str) -> None:
        """End a turn of `caller`."""
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        self._serve()

    def close(self) -> None:
        """Let all who wait, and all who come, raise `Crowded`."""
        self._closed = True
        for caller in list(self._queues):
            for entry in list(self._queues[caller]):
                self._leave(caller, entry)
                entry[0].errback(Crowded("nobody is served any more"))

    def _serve(self) -> None:
        for caller in list(self._queues):
            if not self._is_free_for(caller):
                continue
            turn, size = self._queues[caller].popleft()
            self._size -= size
            if self._queues[caller]:
                self._queues.move_to_end(caller)
            else:
                del self._queues[caller]
            self._running[caller] += 1
            turn.callback(None)
            return

    def _is_free_for(self, caller: str) -> bool:
        return self._running.total() < self._limit and self._running[caller] < self._share

    def _leave(self, caller: str, entry: tuple[Deferred[None], int]) -> None:
        self._queues[caller].remove(entry)
        self._size -= entry[1]
        if not self._queues[caller]:
            del self._queues[caller]
