"""The newest entries of a stream, for those who take them a little later."""

from collections import deque

from appliance.host.journal.follow.batch import Batch


class Ring:
    """
    The newest batches, of at most `limit` bytes together (but always the last one).

    Batches are numbered as they come. Those from `first` to before `end` are here; `begin` is the cursor before them:
    every entry of the stream after that one is here or yet to come.
    """

    def __init__(self, begin: bytes, limit: int) -> None:
        self.begin = begin
        self.first = 0
        self._limit = limit
        self._size = 0
        self._batches: deque[Batch] = deque()

    @property
    def end(self) -> int:
        """The number that the next batch will bear."""
        return self.first + len(self._batches)

    @property
    def newest_cursor(self) -> bytes:
        """The cursor after which the stream goes on."""
        return self._batches[-1].cursor if self._batches else self.begin

    def __getitem__(self, number: int) -> Batch:
        """The batch of that number, which is here."""
        return self._batches[number - self.first]

    def append(self, batch: Batch) -> None:
        """Add the next batch, and let go of the oldest ones that there is no room for."""
        self._batches.append(batch)
        self._size += batch.size
        while self._size > self._limit and len(self._batches) > 1:
            oldest = self._batches.popleft()
            self._size -= oldest.size
            self.begin = oldest.cursor
            self.first += 1
