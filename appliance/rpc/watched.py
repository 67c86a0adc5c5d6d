"""What is made of files, and made anew when they have changed."""

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from appliance.host.shared import Shared
from appliance.threads import Threads

FRESH_SECONDS = 0.01

T = TypeVar("T")
Stamp = tuple[tuple[object, ...], ...]


class Watched(Generic[T]):
    """
    A value made of files by `make`, for as long as `stamp`, which looks at them without reading, says the same.

    Both are called in a thread, at most a hundred times a second, and once for everybody who asks meanwhile. `make`
    gets the value before, and must not raise for what is in a file.
    """

    def __init__(
        self, clock: IReactorTime, threads: Threads, stamp: Callable[[], Stamp], make: Callable[[T], T], first: T
    ) -> None:
        self._clock = clock
        self._threads = threads
        self._stamp = stamp
        self._make = make
        self._value = first
        self._seen: Stamp | None = None
        self._looked: float | None = None
        self._looking = Shared(self._look)

    async def get(self) -> T:
        """The value, as of now or a hundredth of a second ago."""
        if self._looked is None or not 0 <= self._clock.seconds() - self._looked < FRESH_SECONDS:
            await self._looking.result()
        return self._value

    async def _look(self) -> None:
        now = self._clock.seconds()
        self._seen, self._value = await self._threads.run(self._read, self._seen, self._value)
        self._looked = now

    def _read(self, seen: Stamp | None, value: T) -> tuple[Stamp, T]:
        stamp = self._stamp()
        return stamp, value if stamp == seen else self._make(value)
