"""The way into a WebSocket: what is judged before the upgrade, and the sessions that are open."""

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from appliance.background import Background
from appliance.http.access_log import AccessLog, Opening
from appliance.http.call import Call
from appliance.http.errors import HttpError, forbidden
from appliance.http.replies import Upgrade
from appliance.identity.caller import Caller, Permission
from appliance.system.authenticator import Recognised, SystemAuthenticator, bearer
from appliance.system.live.channel import ChannelMaker
from appliance.system.live.session import Route, Session
from appliance.websocket.handshake import OpenSockets, check_origin, check_upgrade
from appliance.websocket.on_demand import SocketsOnDemand

if TYPE_CHECKING:
    from appliance.websocket.socket import Socket

CHECK_INTERVAL = 1.0
CHECK_ROUNDS = 10
"""Each session's account is looked at every ten seconds; what is known of accounts is a minute old at most."""


class Door:
    """Opens sessions, watches that they may go on, and closes them at the end."""

    def __init__(
        self,
        clock: IReactorTime,
        sockets: SocketsOnDemand,
        authenticator: SystemAuthenticator,
        background: Background,
        access_log: AccessLog,
        *,
        limit: int,
        origins: Collection[str],
    ) -> None:
        """`limit` is for the open sockets of one client address; `origins` are allowed besides our own."""
        self._clock = clock
        self._authenticator = authenticator
        self._background = background
        self._access_log = access_log
        self._limit = OpenSockets(limit)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._sockets = sockets
        self._sessions: dict[Session, tuple[str, Opening]] = {}  # who was looked at longest ago comes first
        self._stopping = False
        authenticator.on_revocation(self._prove_all)

    @property
    def open(self) -> int:
        """Sockets open now."""
        return self._sockets.open

    def start(self) -> None:
        """Begin to look after the sessions."""
        self._background.repeat(
            "checking who is connected",
            self._clock,
            self._check_some,
            delay=CHECK_INTERVAL,
            interval=CHECK_INTERVAL,
        )

    async def stop(self) -> None:
        """Let nobody in any more and close what is open (1001)."""
        self._stopping = True
        await self._sockets.close_all()

    async def enter(self, call: Call, who: Permission, make: ChannelMaker) -> Upgrade:
        """Answer a request with a WebSocket, on which callers that `who` admits speak with the channel of `make`.

        Raises 403 for a foreign origin, 426 for what is no handshake, 401 for a token in the header that is not good,
        403 for one that may not come here, 429 for one socket too many, 503 when the server stops.
        """
        check_origin(call, self._origins)
        check_upgrade(call)
        shown = await self._shown(call)
        if shown is not None and not who.admits(shown[1].caller):
            raise forbidden("Permission denied")
        sockets = await self._sockets.sockets()
        if self._stopping:
            raise HttpError(503, "The server is stopping")
        session = Session(self._clock, self._authenticator, Route(who, make), call.address, self.session_ended, shown)
        # From here on nothing waits: what is counted is left again when the connection ends.
        group = self._limit.enter(call.address)
        self._sessions[session] = group, self._access_log.begin(call)
        call.caller = shown[1].caller if shown is not None else Caller("anonymous", "", address=call.address)
        return Upgrade(sockets.make(session))

    def check_user(self, name: str) -> None:
        """Look at a user's sessions again: his account has just been changed."""
        for session in self._sessions:
            if session.username == name:
                self._background.spawn("checking who is connected", session.check())

    def session_ended(self, session: Session, socket: "Socket | None") -> None:
        """The connection is gone, perhaps before the handshake was over (then there is no socket)."""
        group, opening = self._sessions.pop(session)
        self._limit.leave(group)
        if socket is not None:
            self._access_log.end(opening, session.username, socket.close_code, socket.sent)

    async def _shown(self, call: Call) -> tuple[str, Recognised] | None:
        if call.header("Authorization") is None:
            return None
        token = bearer(call)
        return token, await self._authenticator.recognise(token, call.address)

    def _prove_all(self) -> None:
        for session in list(self._sessions):
            session.prove()

    async def _check_some(self) -> None:
        for session in list(islice(self._sessions, -(-len(self._sessions) // CHECK_ROUNDS))):
            if session in self._sessions:
                self._sessions[session] = self._sessions.pop(session)
                await session.check()
