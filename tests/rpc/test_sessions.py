"""Which tokens live, with a clock of the test's own and the real database."""

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, Routes, bind
from appliance.http.errors import HttpError
from appliance.identity.caller import Caller, anyone
from appliance.identity.signed_tokens import BadToken
from appliance.rpc import sessions as sessions_module
from appliance.rpc.acl import EVERYTHING, Rights
from appliance.rpc.authenticator import RpcAuthenticator, any_token, live, sudo
from appliance.rpc.identities import Identity
from appliance.rpc.sessions import NotLive, Sessions
from appliance.rpc.tokens import LIFETIME, TOTAL_LIFETIME, Claims, Tokens
from tests.support.database import DatabaseTestCase

ANN = Identity("ann", Rights(("x",)), "credential")
ROOT = Identity("root", EVERYTHING)


class People:
    """Identities of the test."""

    def __init__(self) -> None:
        self.found: dict[str, Identity] = {"ann": ANN, "root": ROOT}

    async def find(self, name: str) -> Identity | None:
        return self.found.get(name)


class Endpoints:
    routes = Routes()

    @routes.get("/open", who=anyone)
    async def open(self, call: Call) -> None: ...

    @routes.get("/any", who=any_token)
    async def any(self, call: Call) -> None: ...

    @routes.get("/live", who=live)
    async def live(self, call: Call) -> None: ...

    @routes.get("/sudo", who=sudo)
    async def sudo(self, call: Call) -> None: ...


ENDPOINTS: dict[str, Endpoint] = {endpoint.name: endpoint for endpoint in bind(Endpoints())}


class SessionsTests(DatabaseTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.database = await self.opened()
        self.people = People()
        self.sessions = await self.restarted()

    async def restarted(self) -> Sessions:
        """What a server has that starts now."""
        self.tokens = Tokens(self.clock, self.directory / "tokens.key")
        self.tokens.prepare()
        sessions = Sessions(self.clock, self.database, self.tokens)
        await sessions.load()
        people: Any = self.people
        self.authenticator = RpcAuthenticator(self.tokens, sessions, people)
        return sessions

    async def begin(self, user: Identity = ANN, *, pending: bool = False) -> str:
        since = self.clock.seconds()
        return (await self.sessions.begin(user, "192.0.2.1", since=since, pending=pending)).token

    def claims(self, token: str) -> Claims:
        return self.tokens.read(token)

    async def opens(self, token: str, name: str) -> str:
        """What an endpoint says to a token."""
        call = Call("1", "GET", b"/", "/", b"", Headers({b"Authorization": [b"Bearer " + token.encode()]}))
        try:
            caller = await self.authenticator.identify(call, ENDPOINTS[name])
        except HttpError as error:
            return str(error)
        assert isinstance(caller, Caller)
        return caller.name

    async def test_sudo_mode_is_over_after_five_minutes(self) -> None:
        token = await self.begin()
        raised = (await self.sessions.raise_to_sudo(self.claims(token))).token
        self.assertEqual(await self.opens(token, "sudo"), "sudo mode required")
        self.assertEqual(await self.opens(raised, "sudo"), "ann")
        self.clock.advance(300)
        self.assertEqual(await self.opens(raised, "sudo"), "ann")
        self.clock.advance(1)
        self.assertEqual(await self.opens(raised, "sudo"), "sudo mode required")
        self.assertEqual(await self.opens(raised, "live"), "ann")
        # Renewing does not prolong it.
        again = (await self.sessions.raise_to_sudo(self.claims(token))).token
        self.clock.advance(200)
        renewed = (await self.sessions.renew(self.claims(again))).token
        self.assertEqual(await self.opens(renewed, "sudo"), "ann")
        self.clock.advance(101)
        self.assertEqual(await self.opens(renewed, "sudo"), "sudo mode required")

    async def test_a_clock_that_was_set_back_gives_no_sudo_mode(self) -> None:
        token = await self.begin()
        raised = (await self.sessions.raise_to_sudo(self.claims(token))).token
        self.clock.rightNow -= 30
        self.assertEqual(await self.opens(raised, "sudo"), "sudo mode required")

    async def test_a_token_ends_after_a_day_and_a_login_after_a_week(self) -> None:
        token = await self.begin()
        begun = self.claims(token).orig_iat
        self.clock.advance(LIFETIME - 1)
        self.assertEqual(await self.opens(token, "live"), "ann")
        for _ in range(20):
            granted = await self.sessions.renew(self.claims(token))
            self.assertLessEqual(granted.expires_at, begun + TOTAL_LIFETIME)
            token = granted.token
            if granted.expires_at == begun + TOTAL_LIFETIME:
                break
            self.clock.advance(LIFETIME // 2)
        self.assertEqual(self.claims(token).exp, begun + TOTAL_LIFETIME)
        left = begun + TOTAL_LIFETIME - self.clock.seconds()
        self.clock.advance(left - 1)
        claims = self.claims(token)
        self.clock.advance(1)
        self.assertEqual(await self.opens(token, "live"), "Token is expired")
        self.assertEqual(str(await self.fails(self.sessions.renew(claims), BadToken)), "Token is expired")

    async def test_a_token_that_waits_opens_only_the_way_out(self) -> None:
        token = await self.begin(pending=True)
        denied = "you don't have permission to access this resource"
        self.assertEqual(await self.opens(token, "live"), denied)
        self.assertEqual(await self.opens(token, "sudo"), denied)
        self.assertEqual(await self.opens(token, "any"), "ann")
        for work in (self.sessions.renew, self.sessions.raise_to_sudo):
            await self.fails(work(self.claims(token)), NotLive)
        await self.sessions.confirm(self.claims(token), alone=False)
        self.assertEqual(await self.opens(token, "live"), "ann")

    async def test_everything_is_as_it_was_after_a_restart(self) -> None:
        kept, ended, pending = await self.begin(), await self.begin(), await self.begin(pending=True)
        await self.sessions.end(self.claims(ended))
        before = self.sessions.all()
        self.sessions = await self.restarted()
        self.assertEqual(
            {msgspec.structs.astuple(each) for each in self.sessions.all()},
            {msgspec.structs.astuple(each) for each in before},
        )
        self.assertEqual(await self.opens(kept, "live"), "ann")
        denied = "you don't have permission to access this resource"
        self.assertEqual([await self.opens(each, "live") for each in (ended, pending)], [denied] * 2)

    async def test_the_second_factor_turned_on_ends_all_others(self) -> None:
        other, token, foreign = await self.begin(), await self.begin(), await self.begin(ROOT)
        await self.sessions.confirm(self.claims(token), alone=True)
        self.assertEqual([each.jti for each in self.sessions.all() if each.username == "ann"], [self.claims(token).jti])
        self.assertEqual(await self.opens(foreign, "live"), "root")
        self.assertNotEqual(await self.opens(other, "live"), "ann")
        self.assertEqual(len((await self.restarted()).all()), 2)

    async def test_who_was_let_in_before_the_end_of_all_is_not_in_after_it(self) -> None:
        since = self.clock.seconds()
        token = await self.begin()
        await self.sessions.end_all("ann")
        self.assertEqual(self.sessions.all(), [])
        await self.fails(self.sessions.begin(ANN, "192.0.2.1", since=since, pending=False), NotLive)
        for work in (self.sessions.renew, self.sessions.raise_to_sudo):
            await self.fails(work(self.claims(token)), NotLive)
        await self.fails(self.sessions.confirm(self.claims(token), alone=False), NotLive)
        self.assertEqual((await self.restarted()).all(), [])
        self.clock.advance(1)
        await self.begin()

    async def test_an_end_that_comes_while_a_session_begins(self) -> None:
        since = self.clock.seconds()
        gate, waiting = await self.gate(self.database)
        beginning = ensureDeferred(self.sessions.begin(ANN, "192.0.2.1", since=since, pending=False))
        ending = ensureDeferred(self.sessions.end_all("ann"))
        gate.leave.set()
        await waiting
        await self.fails(beginning, NotLive)
        await ending
        self.assertEqual(self.sessions.all(), [])
        self.assertEqual((await self.restarted()).all(), [])

    async def test_a_token_can_be_renewed_once(self) -> None:
        claims = self.claims(await self.begin())
        first, second = ensureDeferred(self.sessions.renew(claims)), ensureDeferred(self.sessions.renew(claims))
        await first
        await self.fails(second, NotLive)
        self.assertEqual(len(self.sessions.all()), 1)

    async def test_who_is_gone_or_has_a_new_password_is_out(self) -> None:
        token = await self.begin()
        denied = "you don't have permission to access this resource"
        self.people.found["ann"] = Identity("ann", Rights(), "another")
        self.assertEqual(await self.opens(token, "live"), denied)
        del self.people.found["ann"]
        self.assertEqual(await self.opens(token, "any"), denied)

    async def test_what_has_expired_is_forgotten(self) -> None:
        await self.begin()
        self.clock.advance(LIFETIME + 1)
        young = await self.begin()
        await self.sessions.prune()
        self.assertEqual([each.jti for each in self.sessions.all()], [self.claims(young).jti])
        self.assertEqual(len(self.sessions._live), 1)
        self.assertEqual(len((await self.restarted()).all()), 1)

    async def test_a_user_has_so_many_sessions_and_no_more(self) -> None:
        self.patch(sessions_module, "SESSIONS_PER_USER", 3)
        tokens = [await self.begin() for _ in range(5)]
        self.assertEqual([await self.opens(each, "live") == "ann" for each in tokens], [False, False, True, True, True])
        self.assertEqual(len((await self.restarted()).all()), 3)

    async def test_the_key_is_for_nobody_else(self) -> None:
        key = Path(self.directory / "tokens.key")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
