"""The zygotes: one for each command line by which Python plugins are run, started again when it ends."""

from collections.abc import Mapping
from dataclasses import dataclass

from twisted.internet.defer import TimeoutError
from twisted.logger import Logger

from appliance.process.errors import ProcessError
from appliance.process.reactor import ProcessReactor, within
from appliance.rpc.plugins.warm import Zygote

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 3600.0
"""Seconds before a zygote that has ended unasked is replaced: the pause doubles."""

_STEADY = 60.0
_LIMIT = 8

Python = tuple[str, ...]


@dataclass(slots=True)
class _Place:
    """The zygote of one command line, and when there may be another one."""

    pause: float
    zygote: Zygote | None = None
    began: float = 0.0
    not_before: float = 0.0


class Zygotes:
    """All zygotes. At most eight: scripts by further command lines are cold."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._environment = environment
        self._places: dict[Python, _Place] = {}
        self._living: set[Zygote] = set()
        self._stopping = False

    async def find(self, python: Python, *, patience: float = 0.0) -> Zygote | None:
        """
        One that takes calls now, else None; then one is started where that is possible.

        With `patience` one that is starting is waited for, as many seconds at the most.
        """
        if self._stopping:
            return None
        place = self._places.get(python)
        if place is None:
            if len(self._places) >= _LIMIT:
                return None
            place = self._places[python] = _Place(FIRST_PAUSE)
        if place.zygote is not None and place.zygote.retired:
            place.zygote = None
        if place.zygote is None and self._reactor.seconds() >= place.not_before:
            self._start(python, place)
        zygote = place.zygote
        if zygote is None:
            return None
        if patience > 0 and not zygote.ready.known:
            try:
                await within(self._reactor, patience, zygote.ready.wait())
            except TimeoutError:
                return None
        return zygote if zygote.usable else None

    def renew(self) -> None:
        """Replace all, as their calls end."""
        places, self._places = self._places, {}
        for place in places.values():
            if place.zygote is not None:
                place.zygote.retire()

    async def stop(self) -> None:
        """End all; return when they are gone."""
        self._stopping = True
        for zygote in list(self._living):
            await zygote.stop()

    def pids(self) -> list[int]:
        """The numbers of those that live."""
        return [zygote.pid for zygote in self._living]

    def _start(self, python: Python, place: _Place) -> None:
        place.began = self._reactor.seconds()
        try:
            zygote = Zygote(self._reactor, python, self._environment)
        except (ProcessError, OSError) as error:
            self._postpone(python, place, str(error))
            return
        place.zygote = zygote
        self._living.add(zygote)
        _ = zygote.gone.wait().addCallback(self._gone, python, place, zygote)

    def _gone(self, how: str, python: Python, place: _Place, zygote: Zygote) -> None:
        self._living.discard(zygote)
        if place.zygote is zygote:
            place.zygote = None
            if not zygote.retired and not self._stopping:
                self._postpone(python, place, how)

    def _postpone(self, python: Python, place: _Place, why: str) -> None:
        now = self._reactor.seconds()
        if now - place.began > _STEADY:
            place.pause = FIRST_PAUSE
        self._log.warn(
            "Plugins by {python} have no warm interpreter for {pause} s: {why}",
            python=" ".join(python),
            pause=place.pause,
            why=why,
        )
        place.not_before = now + place.pause
        place.pause = min(2 * place.pause, LONGEST_PAUSE)
