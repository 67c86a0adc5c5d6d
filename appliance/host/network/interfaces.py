"""The interfaces as they are at this moment, from a snapshot that the kernel's own notices keep true."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from appliance.host.errors import Unavailable
from appliance.host.network import state
from appliance.host.network.assembly import interfaces_of
from appliance.host.network.model import Interface
from appliance.host.network.netlink import KernelRefusal, Netlink
from appliance.host.network.notices import Notices
from appliance.host.shared import Shared
from appliance.process.reactor import sleep
from appliance.threads import Threads

STATISTICS_SECONDS = 1.0
"""How old the statistics may be, of whose change the kernel does not tell."""
STORM_SECONDS = 0.1
"""How long we wait before reading again when things changed faster than they could be read."""
_ATTEMPTS = 3
_NEVER = -math.inf


class Listener(Protocol):
    """What is asked of `Notices`."""

    def look(self) -> bool: ...

    def close(self) -> None: ...


class Interfaces:
    """Answers from memory; reads again, in a thread, what has changed or is too old, once for all who wait."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        *,
        read: Callable[[], list[Interface]] | None = None,
        listen: Callable[[], Listener] = Notices,
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._read = read or _read
        self._listen = listen
        self._notices: Listener | None = None
        self._renewal = Shared(self._renew)
        self._generation = 0  # counts the changes noticed: what was read before one is not kept
        self._stormy = False
        self._found: list[Interface] = []
        self._found_at = _NEVER

    def start(self) -> None:
        """Begin to listen for changes. Raises OSError."""
        self._notices = self._listen()

    def stop(self) -> None:
        """Stop listening; what is asked from now on is read each time."""
        if self._notices is not None:
            self._notices.close()
            self._notices = None

    async def snapshot(self) -> list[Interface]:
        """All interfaces; the same object as long as nothing is different. Raises `Unavailable`."""
        self._notice()
        if 0 <= self._reactor.seconds() - self._found_at < STATISTICS_SECONDS:  # a clock may have been set back
            return self._found
        return await self._renewal.result()

    def _notice(self) -> None:
        if self._notices is None or self._notices.look():
            self._generation += 1
            self._found_at = _NEVER

    async def _renew(self) -> list[Interface]:
        if self._stormy:
            await sleep(self._reactor, STORM_SECONDS)
        for _ in range(_ATTEMPTS):
            self._notice()
            generation, now = self._generation, self._reactor.seconds()
            found = await self._threads.run(self._read)
            if found != self._found:
                self._found = found
            if self._notices is None:
                break
            self._notice()
            if generation == self._generation:
                self._found_at = now
                break
        self._stormy = self._notices is not None and self._found_at == _NEVER
        return self._found


def _read() -> list[Interface]:
    try:
        with Netlink() as net:
            return interfaces_of(state.read(net))
    except (OSError, KernelRefusal) as error:
        raise Unavailable(f"The kernel does not tell of the network: {error}") from error
