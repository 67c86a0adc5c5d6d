"""What a WebSocket is for: each path has its kind of channel, which gets the messages of authenticated clients."""

from collections.abc import Callable

from appliance.system.live.messages import Incoming
from appliance.system.live.peer import Peer

NOT_HERE = "NOT_SUPPORTED"


class Channel:
    """
    One client's use of a path. Subclasses override what they understand; the rest is refused.

    Messages come one at a time and in order: the next one when the method has returned. A method may therefore wait
    (for a program to read its input) and hold back the client with it. It may raise `BadMessage`, an `HttpError` or
    any error that `system.envelope.translate` knows: the client is told and the socket kept. Anything else is a
    defect and closes the socket.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def subscribe(self, message: Incoming) -> None:
        """The client wants something. Its account has just been looked at again."""
        self._not_here(message)

    async def unsubscribe(self, message: Incoming) -> None:
        """The client wants it no more."""
        self._not_here(message)

    async def input(self, message: Incoming) -> None:
        """The client types."""
        self._not_here(message)

    async def resize(self, message: Incoming) -> None:
        """The client's window has another size."""
        self._not_here(message)

    def revoked(self) -> None:
        """The client may not be here any more: its token was revoked, its account locked, changed or deleted.

        `closed` comes next. A token that expires or a connection that breaks is `closed` alone.
        """

    def closed(self) -> None:
        """The end, called once: the connection is gone, or is not the client's any more."""

    def _not_here(self, message: Incoming) -> None:
        self.peer.error(NOT_HERE, f"There is no {message.type!r} here", message.id)


ChannelMaker = Callable[[Peer], Channel]
