"""The client at the other end of a WebSocket, as the channels see it."""

from typing import TYPE_CHECKING

import msgspec

from appliance.http.errors import HttpError
from appliance.identity.caller import Caller
from appliance.identity.nss import Account
from appliance.system.envelope import CODES
from appliance.system.live.messages import Id, encode, error
from appliance.websocket.frames import NO_CODE, NORMAL

if TYPE_CHECKING:
    from appliance.websocket.socket import Socket


class Peer:
    """An authenticated client. `caller` and `account` are read again at least once a minute.

    Whoever sends without being asked looks at `slow` first, or awaits `drained`, so that nothing piles up.
    """

    def __init__(self, socket: "Socket", caller: Caller, account: Account) -> None:
        self.caller = caller
        self.account = account
        self._socket = socket

    @property
    def slow(self) -> bool:
        """Whether the client does not keep up with what was sent to it."""
        return self._socket.slow

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent; what is sent all the same is dropped."""
        return self._socket.can_send

    @property
    def has_left(self) -> bool:
        """Whether the client has closed the connection itself, in good order and for good (1000, or without a code).

        A page that is left or loaded again says 1001, and a connection that breaks says nothing.
        """
        return self._socket.close_code in (NORMAL, NO_CODE)

    async def drained(self) -> None:
        """Return when the client has taken what was sent, at once where it keeps up, or when it has gone."""
        await self._socket.drained()

    def send(self, message: msgspec.Struct | bytes) -> None:
        """Send one message; bytes are taken as encoded."""
        self._socket.send(message if isinstance(message, bytes) else encode(message))

    def send_prepared(self, frame: bytes) -> None:
        """Send what `websocket.socket.prepared` made once for many clients."""
        self._socket.send_prepared(frame)

    def error(self, code: str, text: str, id: Id | None = None) -> None:
        """Refuse something; the socket is kept."""
        self._socket.send(encode(error(code, text, id)))

    def refuse(self, refusal: HttpError, id: Id | None = None) -> None:
        """Refuse something for the same reason for which a request would be refused."""
        self.error(refusal.code or CODES.get(refusal.status, f"HTTP_{refusal.status}"), str(refusal), id)

    def close(self, code: int, reason: str) -> None:
        """Begin to close; see `Socket.close`."""
        self._socket.close(code, reason)
