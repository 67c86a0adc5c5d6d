"""One WebSocket from its opening to its end: who speaks is found out first, then a channel gets what is said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from appliance.http.errors import HttpError
from appliance.identity.caller import Permission
from appliance.system.authenticator import Recognised, SystemAuthenticator
from appliance.system.envelope import translate
from appliance.system.live.channel import Channel, ChannelMaker
from appliance.system.live.messages import Auth, Authenticated, AuthResult, BadMessage, Incoming, Pong, encode, error
from appliance.system.live.peer import Peer
from appliance.websocket.frames import TRY_AGAIN_LATER

if TYPE_CHECKING:
    from appliance.websocket.socket import Socket

AUTH_SECONDS = 10.0
"""What a client gets to send its first `auth`."""

UNAUTHORIZED = 4401
FORBIDDEN = 4403

_LONGEST_TIMER = 7 * 86400.0
_LOST = "The user's rights have changed"


@dataclass(frozen=True, slots=True)
class Route:
    """What a path is for: who may speak there, and what answers him."""

    who: Permission
    make: ChannelMaker


Ended = Callable[["Session", "Socket | None"], None]
"""Told of the end of a session; the socket says how."""


class Session:
    """
    A `Conversation`: judges `auth`, and hands all else to the channel of an authenticated client.

    The client has `AUTH_SECONDS` and one try. Before, everything else is an error. A token that expires or is revoked,
    an account that is locked or gone and a role that is lost end the session with 4401.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        authenticator: SystemAuthenticator,
        route: Route,
        address: str,
        ended: Ended,
        shown: tuple[str, Recognised] | None,
    ) -> None:
        """`shown` is the token of the request's header and whose it is, where there was one."""
        self.peer: Peer | None = None
        self._clock = clock
        self._authenticator = authenticator
        self._route = route
        self._address = address
        self._ended = ended
        self._shown = shown
        self._token = ""
        self._socket: Socket | None = None
        self._channel: Channel | None = None
        self._timer: IDelayedCall | None = None
        self._is_over = False

    @property
    def username(self) -> str:
        """Who speaks; "" as long as nobody knows."""
        return self.peer.caller.name if self.peer is not None else ""

    # What the socket calls

    def opened(self, socket: "Socket") -> None:
        """Wait for `auth`, where the header has not said it all."""
        self._socket = socket
        if self._shown is not None:
            (self._token, recognised), self._shown = self._shown, None
            self._accept(socket, recognised)
        else:
            self._timer = self._clock.callLater(AUTH_SECONDS, self._too_late)

    async def received(self, message: bytes) -> None:
        """Deal with a message of the client."""
        socket = self._socket
        if socket is None or self._is_over:
            return
        await socket.drained()
        try:
            incoming = Incoming(message)
        except BadMessage as problem:
            socket.send(encode(error(problem.code, str(problem))))
            return
        if incoming.type == "auth":
            await self._authenticate(socket, incoming)
        elif self.peer is None or self._channel is None:
            socket.send(encode(error("UNAUTHORIZED", "Not authenticated", incoming.id)))
        elif incoming.type == "ping":
            socket.send(encode(Pong(incoming.id)))
        else:
            await self._pass_on(self.peer, self._channel, incoming)

    def closed(self) -> None:
        """The connection is gone."""
        self._finish()
        self._ended(self, self._socket)

    # What the door calls

    def prove(self) -> None:
        """End the session if its token counts no more."""
        if self.peer is not None and not self._authenticator.is_good(self._token):
            self._lose("The token is not valid any more")

    async def check(self) -> None:
        """Look at the account again, and end the session if it has lost what was asked for."""
        if self.peer is None or self._is_over:
            return
        try:
            recognised = await self._authenticator.recognise(self._token, self._address)
        except HttpError as refusal:
            if refusal.status == 401:
                self._lose("The token or its user is not valid any more")
            return  # else the name service does not answer now: the next check comes soon
        peer = self.peer
        if _has_lost(peer, recognised):
            self._lose(_LOST)
        else:
            peer.caller, peer.account = recognised.caller, recognised.account

    async def _authenticate(self, socket: "Socket", message: Incoming) -> None:
        self._stop_timer()
        try:
            token = message.decode(Auth).shown
            recognised = await self._authenticator.recognise(token, self._address)
        except BadMessage as problem:
            self._refuse("AUTH_FAILED", str(problem), message)
            return
        except HttpError as refusal:
            if refusal.status == 401:
                self._refuse("AUTH_FAILED", "The token is not valid", message)
            else:
                self._refuse("SERVICE_UNAVAILABLE", str(refusal), message, TRY_AGAIN_LATER)
            return
        if self._is_over:
            return
        if self.peer is not None and self.peer.caller.name != recognised.caller.name:
            self._refuse("AUTH_FAILED", "The token is another user's", message)
        elif not self._route.who.admits(recognised.caller):
            self._refuse("PERMISSION_DENIED", "Permission denied", message, FORBIDDEN)
        elif self.peer is not None and _has_lost(self.peer, recognised):
            self._lose(_LOST)
        else:
            self._token = token
            self._accept(socket, recognised)
            socket.send(encode(Authenticated(AuthResult(True, recognised.caller.name), message.id)))

    async def _pass_on(self, peer: Peer, channel: Channel, message: Incoming) -> None:
        try:
            match message.type:
                case "subscribe":
                    await self.check()
                    if not self._is_over:
                        await channel.subscribe(message)
                case "unsubscribe":
                    await channel.unsubscribe(message)
                case "input":
                    await channel.input(message)
                case "resize":
                    await channel.resize(message)
        except BadMessage as problem:
            peer.error(problem.code, str(problem), message.id)
        except Exception as problem:
            known = problem if isinstance(problem, HttpError) else translate(problem)
            if known is None:
                raise
            peer.refuse(known, message.id)

    def _accept(self, socket: "Socket", recognised: Recognised) -> None:
        self._expire_at(recognised.expires_at)
        if self.peer is None:
            self.peer = Peer(socket, recognised.caller, recognised.account)
            self._channel = self._route.make(self.peer)
        else:
            self.peer.caller, self.peer.account = recognised.caller, recognised.account

    def _expire_at(self, moment: int | None) -> None:
        self._stop_timer()
        if moment is not None:
            left = max(0.0, moment - self._clock.seconds())
            self._timer = self._clock.callLater(min(left, _LONGEST_TIMER), self._expired, moment)

    def _expired(self, moment: int) -> None:
        self._timer = None
        if moment > self._clock.seconds():
            self._expire_at(moment)
        else:
            self._refuse("UNAUTHORIZED", "The token has expired", None)

    def _too_late(self) -> None:
        self._timer = None
        self._refuse("AUTH_TIMEOUT", f"No auth message in {AUTH_SECONDS:g} seconds", None)

    def _lose(self, why: str) -> None:
        """End what was good until now."""
        if not self._is_over:
            if self._channel is not None:
                self._tell(self._channel.revoked)
            self._refuse("UNAUTHORIZED", why, None)

    def _refuse(self, code: str, why: str, message: Incoming | None, close_code: int = UNAUTHORIZED) -> None:
        socket = self._socket
        if socket is not None and not self._is_over:
            socket.send(encode(error(code, why, message.id if message is not None else None)))
            socket.close(close_code, why)
        self._finish()

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._stop_timer()
            if self._channel is not None:
                self._tell(self._channel.closed)

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:  # the socket ends all the same, and so do others that lose their rights with it
            self._log.failure("A channel could not deal with its end")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _has_lost(peer: Peer, recognised: Recognised) -> bool:
    """Whether a client is another user now, or may do less: what was opened for him must not go on."""
    return recognised.account.uid != peer.account.uid or not peer.caller.roles <= recognised.caller.roles
