"""The way into a WebSocket of the system surface, over a real port: real tokens, accounts that the test makes up."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from appliance.background import Background
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.call import Call
from appliance.http.dispatch import Dispatcher
from appliance.http.endpoints import Routes, bind
from appliance.http.receivers import Receivers
from appliance.http.replies import Upgrade
from appliance.http.router import Router
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces
from appliance.identity.accounts import Accounts
from appliance.identity.api_tokens import ApiTokens
from appliance.identity.caller import administrator, anyone, reader
from appliance.identity.nss import Account
from appliance.identity.revocations import Revocations
from appliance.identity.sessions import Sessions
from appliance.system.authenticator import SURFACE, SystemAuthenticator
from appliance.system.envelope import SystemEnvelope, translate
from appliance.system.live.channel import Channel
from appliance.system.live.door import Door
from appliance.system.live.messages import Incoming
from appliance.system.live.peer import Peer
from appliance.threads import Threads
from appliance.websocket.on_demand import SocketsOnDemand
from appliance.websocket.socket import Socket
from tests.support.database import DatabaseTestCase
from tests.support.listening import ListeningTestCase, reactor
from tests.support.site import Notebook
from tests.support.websocket import Client, connect, forget_timers

NOW = 1_800_000_000
LIMIT = 4


class Recorder(Channel):
    """Keeps what it is told. `on_subscribe` may be replaced to do something, and with `fails` its end goes wrong."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self.seen: list[str] = []
        self.on_subscribe: Callable[[Incoming], Any] | None = None
        self.fails = False

    async def subscribe(self, message: Incoming) -> None:
        self.seen.append("subscribe")
        if self.on_subscribe is not None:
            await self.on_subscribe(message)

    async def input(self, message: Incoming) -> None:
        self.seen.append("input")

    def revoked(self) -> None:
        self.seen.append("revoked")
        self._fail_if_wanted()

    def closed(self) -> None:
        self.seen.append("closed")
        self._fail_if_wanted()

    def _fail_if_wanted(self) -> None:
        if self.fails:
            raise RuntimeError("as the test wants")


class LiveEndpoints:
    """/ws/test for readers and /ws/admin for administrators."""

    routes = Routes()

    def __init__(self, case: "LiveTestCase") -> None:
        self._case = case

    @routes.get("/test", who=anyone)
    async def test(self, call: Call) -> Upgrade:
        return await self._case.door.enter(call, reader, self._case.make)

    @routes.get("/admin", who=anyone)
    async def admin(self, call: Call) -> Upgrade:
        return await self._case.door.enter(call, administrator, self._case.make)


class LiveTestCase(ListeningTestCase, DatabaseTestCase):
    """A server with two users, `ann` (an administrator) and `bob`. Time stands still; `pass_time` moves it."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.users = {name: account(name, uid) for name, uid in (("ann", 1000), ("bob", 1001))}
        self.users["ann"] = account("ann", 1000, "sudo")
        self.channels: list[Recorder] = []
        self.background = Background()
        database = await self.opened()
        revocations = Revocations(database, self.clock)
        self.sessions = Sessions(self.clock, self.directory / "tokens.key", revocations, SURFACE)
        self.sessions.prepare()
        self.api_tokens = ApiTokens(self.clock, database)
        threads = Threads(reactor)
        self.accounts = Accounts(Timed(self.clock), threads, lambda name: self.users.get(name))
        self.authenticator = SystemAuthenticator(
            self.sessions, revocations, self.api_tokens, self.accounts, frozenset({"sudo"})
        )
        self.lines: list[bytes] = []
        self.access_log = AccessLog(self.clock, self.lines.append)
        self.sockets = SocketsOnDemand(reactor, self.background, threads)
        self.door = Door(
            self.clock,
            self.sockets,
            self.authenticator,
            self.background,
            self.access_log,
            limit=LIMIT,
            origins=("https://Friend.example",),
        )
        surface = Surface(
            name=SURFACE,
            prefix="/ws",
            router=Router("/ws", bind(LiveEndpoints(self))),
            envelope=SystemEnvelope(),
            authenticator=self.authenticator,
            audit=Notebook(),
            translate=translate,
        )
        self.site = Site(
            reactor,
            Dispatcher(Surfaces([surface]), Receivers(threads)),
            threads,
            self.access_log,
            TrustedProxies(lambda address: False),
            Limits(),
            lambda error: b"",
        )
        self.door.start()
        self.port = self.listen(self.site)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.door.stop()
        await self.background.stop()
        await self.site.drain(0)
        forget_timers()

    def make(self, peer: Peer) -> Channel:
        channel = Recorder(peer)
        self.channels.append(channel)
        return channel

    @property
    def open_sockets(self) -> set[Socket]:
        """The sockets that are open now."""
        return self.sockets._sockets._open if self.sockets._sockets is not None else set()

    def token(self, name: str) -> str:
        """A token of a log-in that happens now."""
        return self.sessions.begin(name, self.sessions.moment()).token

    async def connect(
        self, path: str = "/ws/test", *, origin: str | None = None, headers: dict[str, str] | None = None
    ) -> Client:
        """A socket that has said nothing yet."""
        return await connect(self.port, path, origin=origin, headers=headers)

    async def authenticated(self, name: str = "ann", path: str = "/ws/test") -> Client:
        """A socket of a user, who has been greeted."""
        client = await self.connect(path)
        client.say("auth", payload={"token": self.token(name)})
        await self.heard(client, 1)
        assert client.heard[0]["payload"] == {"authenticated": True, "username": name}
        return client

    async def heard(self, client: Client, count: int) -> list[Any]:
        """What the client has heard, once it is `count` messages."""
        await self.until(lambda: len(client.messages) >= count)
        return client.heard

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, a second at a time, and let what begins by that go on."""
        whole = int(seconds)
        for step in [1.0] * whole + [seconds - whole]:
            self.clock.advance(step)
            await self.settle()

    async def settle(self) -> None:
        """Let the reactor turn a few times."""
        await self.until(iter([False, False, True]).__next__)

    def log(self) -> str:
        """The access log so far."""
        self.access_log.flush()
        return b"".join(self.lines).decode()


class Timed:
    """The real reactor with the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def account(name: str, uid: int, *groups: str, locked: bool = False) -> Account:
    """An account as the name service has it."""
    return Account(name, uid, uid, f"/home/{name}", "/bin/sh", frozenset(groups), locked, False)
