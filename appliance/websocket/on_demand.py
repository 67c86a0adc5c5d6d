"""WebSockets on a server that has had none so far: Autobahn is loaded when the first one opens.

It takes 7 MB and a sixth of a second, and on most devices nobody is connected most of the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from appliance.background import Background
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.websocket.socket import Sockets


class SocketsOnDemand:
    """The `Sockets` of a server, once there are any."""

    def __init__(self, reactor: Any, background: Background, threads: Threads) -> None:
        self._reactor = reactor
        self._background = background
        self._threads = threads
        self._sockets: Sockets | None = None

    @property
    def open(self) -> int:
        """Sockets open now."""
        return self._sockets.open if self._sockets is not None else 0

    async def sockets(self) -> "Sockets":
        """What makes sockets."""
        if self._sockets is None:
            module = await self._threads.run(import_module, "appliance.websocket.socket")
            if self._sockets is None:  # two may have asked
                self._sockets = module.Sockets(self._reactor, self._background)
        return self._sockets

    async def close_all(self) -> None:
        """See `Sockets.close_all`."""
        if self._sockets is not None:
            await self._sockets.close_all()
