"""Tells that something has happened in the plugins' directories, so that the list of plugins is up to date unasked.

A call looks for its plugin itself and needs none of this. inotify(7), by way of Twisted: one watch a directory, or, as
long as that does not exist, one of the nearest directory above it that does.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    INotify,
    INotifyError,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from appliance.process.reactor import ProcessReactor

QUIET = 0.1
"""Seconds between the first event and what is done about it: a package brings many files at once."""

_GONE = IN_DELETE_SELF | IN_MOVE_SELF
_CONTENT = IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO


class Watch:
    """Calls `changed` soon after something has changed in one of `directories`."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, directories: Sequence[Path], changed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._directories = directories
        self._changed = changed
        self._watches: dict[Path, tuple[Path, Any]] = {}
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Watch; to be called again when directories may have come or gone."""
        for directory in self._directories:
            place = _nearest(directory)
            if directory in self._watches:
                watched, notifier = self._watches[directory]
                if watched == place and notifier.connected:
                    continue
                notifier.loseConnection()
            try:
                self._watches[directory] = place, self._notifier(place, directory)
            except (INotifyError, OSError) as error:
                self._watches.pop(directory, None)
                self._log.warn("No word of changes in {directory}: {error}", directory=str(directory), error=error)

    def stop(self) -> None:
        """Watch no more."""
        for _, notifier in self._watches.values():
            notifier.loseConnection()
        self._watches.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _notifier(self, place: Path, directory: Path) -> Any:
        # What leads to the directory, where that is not there itself.
        step = None if place == directory else directory.relative_to(place).parts[0]

        def happened(_: object, path: Any, mask: int) -> None:
            if mask & _GONE and path.asBytesMode().path == os.fsencode(place):
                notifier.loseConnection()
            elif step is not None and path.asTextMode().basename() != step:
                return
            self._soon()

        notifier = INotify(self._reactor)
        try:
            notifier.watch(FilePath(os.fsencode(place)), mask=_CONTENT | _GONE, callbacks=[happened])
        except BaseException:
            notifier.loseConnection()
            raise
        notifier.startReading()
        return notifier

    def _soon(self) -> None:
        if self._timer is None or not self._timer.active():
            self._timer = self._reactor.callLater(QUIET, self._changed)


def _nearest(directory: Path) -> Path:
    """`directory`, or the nearest one above it that exists."""
    for place in (directory, *directory.parents):
        if place.is_dir():
            return place
    return Path("/")
