"""A container's log as a stream, from the file that its runtime writes."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from appliance.host.containers.cri.log_file import LogFile
from appliance.host.containers.model import LogOptions
from appliance.process.reactor import sleep
from appliance.threads import Threads

_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between two looks at a file that does not grow, the last of them from then on."""
_LAST_PAUSE = 0.2
"""Seconds after the end of a container in which its runtime may still write what it has printed."""


class CriLog:
    """The lines that `options` ask for of the log at `path`, read in threads as fast as they are taken.

    A followed one ends when `runs` says that the container does not any more, or after `options.until`.
    """

    def __init__(
        self, reactor: Any, threads: Threads, path: str, options: LogOptions, runs: Callable[[], Awaitable[bool]]
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._options = options
        self._runs = runs
        self._file = LogFile(path, options)
        self._looks = 0
        self._pausing: Deferred[None] | None = None
        self._goes_on = options.follow
        self._closed = False

    async def begin(self) -> None:
        """Find the beginning. Raises `RuntimeFailed`."""
        await self._threads.run(self._file.begin)

    async def read(self) -> bytes:
        """The next piece, both streams in the order of writing; empty at the end. Raises `RuntimeFailed`."""
        while not self._closed:
            text, at_end = await self._threads.run(self._file.read)
            if text:
                self._looks = 1
                return text
            if at_end and not self._goes_on:
                return self._file.finish()
            if at_end:
                await self._wait()
        return b""

    def close(self) -> None:
        """Let go of it; a reader is told that this is the end."""
        self._closed = True
        self._file.close()
        if self._pausing is not None:
            self._pausing.cancel()

    async def _wait(self) -> None:
        """Wait for the file to grow, and see whether it will: what has come until then is read in any case."""
        until = self._options.until
        look = min(self._looks, len(_PAUSES) - 1)
        self._looks += 1
        if look in (0, len(_PAUSES) - 1):
            self._goes_on = (until is None or self._reactor.seconds() <= until) and await self._runs()
        if self._closed:
            return
        self._pausing = sleep(self._reactor, _PAUSES[look] if self._goes_on else _LAST_PAUSE)
        try:
            await self._pausing
        except CancelledError:
            if not self._closed:
                raise
        finally:
            self._pausing = None
