from typing import Any

import jwt
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from appliance.database.errors import DatabaseClosed
from appliance.database.thread import Database
from appliance.identity import revocations as revocations_module
from appliance.identity.revocations import Revocations
from appliance.identity.sessions import LIFETIME, REFRESH_LIFETIME, Granted, Sessions
from appliance.identity.signed_tokens import BadToken, Claims, load_key
from tests.support.database import DatabaseTestCase

NOW = 1_800_000_000
GET = "SELECT subject FROM revocations ORDER BY subject"


class SessionsTests(DatabaseTestCase):
    async def made(self) -> Sessions:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.database = await self.opened()
        return await self.again(self.database)

    async def again(self, database: Database, surface: str = "system") -> Sessions:
        """The sessions as another server finds them in the same state directory."""
        revocations = Revocations(database, self.clock)
        sessions = Sessions(self.clock, self.directory / "tokens.key", revocations, surface)
        sessions.prepare()
        await revocations.load()
        return sessions

    async def restarted(self) -> Sessions:
        await self.database.close()
        self.database = Database(reactor, self.path)  # type: ignore[arg-type]
        await self.database.open()
        self.addCleanup(lambda: ensureDeferred(self.database.close()))
        return await self.again(self.database)

    def begun(self, sessions: Sessions, user: str = "ann") -> Granted:
        granted = sessions.begin(user, sessions.moment())
        self.clock.advance(1)
        return granted

    def refused(self, sessions: Sessions, *tokens: str) -> bool:
        for token in tokens:
            with self.assertRaises(BadToken):
                sessions.check(token)
        return True

    async def test_a_log_in_and_its_tokens(self) -> None:
        sessions = await self.made()
        granted = sessions.begin("ann", sessions.moment())
        claims = sessions.check(granted.token)
        assert claims.sub == "ann"
        assert granted.expires_at == claims.exp == NOW + LIFETIME == NOW + 24 * 3600
        assert self.refused(sessions, granted.refresh_token)
        other = sessions.check(sessions.begin("ann", sessions.moment()).token)
        assert (other.sid, other.jti) != (claims.sid, claims.jti) and other.sid != claims.sid
        self.clock.advance(LIFETIME - 1)
        sessions.check(granted.token)
        self.clock.advance(1)
        assert self.refused(sessions, granted.token)

    async def test_nothing_counts_before_the_key_is_loaded(self) -> None:
        made = await self.made()
        token = self.begun(made).token
        sessions = Sessions(self.clock, self.directory / "tokens.key", Revocations(self.database, self.clock), "system")
        assert self.refused(sessions, token, jwt.encode({}, b"k" * 32), "")
        with self.assertRaises(RuntimeError):
            sessions.begin("ann", 0)

    async def test_a_token_of_another_surface_or_key(self) -> None:
        sessions = await self.made()
        rpc = await self.again(self.database, "rpc")
        assert self.refused(rpc, self.begun(sessions).token)
        assert self.refused(sessions, self.begun(rpc).token)
        token = self.begun(sessions).token
        (self.directory / "tokens.key").unlink()
        assert self.refused(await self.again(self.database), token)

    async def test_renewed_without_the_refresh_token(self) -> None:
        sessions = await self.made()
        first = self.begun(sessions)
        claims = sessions.check(first.token)
        self.clock.advance(1000)
        second = await sessions.renew(claims, None)
        renewed = sessions.check(second.token)
        assert (renewed.sub, renewed.sid) == ("ann", claims.sid)
        assert second.expires_at == int(self.clock.seconds()) + LIFETIME
        sessions.check(first.token)  # requests that are on their way with it
        await sessions.renew(claims, first.refresh_token)

    async def test_a_refresh_token_is_used_up(self) -> None:
        sessions = await self.made()
        first = self.begun(sessions)
        claims = sessions.check(first.token)
        second = await sessions.renew(claims, first.refresh_token)
        for again in (sessions, await self.restarted()):
            await self.fails(again.renew(claims, first.refresh_token), BadToken)
        again = await self.restarted()
        third = await again.renew(again.check(second.token), second.refresh_token)
        assert again.check(third.token).sid == claims.sid

    async def test_one_of_many_who_use_it_at_once(self) -> None:
        sessions = await self.made()
        first = self.begun(sessions)
        claims = sessions.check(first.token)
        renewing = [ensureDeferred(sessions.renew(claims, first.refresh_token)) for _ in range(20)]
        outcomes = []
        for each in renewing:
            try:
                await each
                outcomes.append(True)
            except BadToken:
                outcomes.append(False)
        assert sorted(outcomes) == [False] * 19 + [True]

    async def test_a_refresh_token_that_is_not_of_this_session(self) -> None:
        sessions = await self.made()
        first, other, others = self.begun(sessions), self.begun(sessions), self.begun(sessions, "bob")
        claims = sessions.check(first.token)
        for wrong in (other.refresh_token, others.refresh_token, first.token, "", "x", first.refresh_token[:-3]):
            await self.fails(sessions.renew(claims, wrong), BadToken)
        assert await self.database.run_on_driver(lambda connection: connection.execute(GET).fetchall()) == []
        await sessions.renew(claims, first.refresh_token)
        self.clock.advance(REFRESH_LIFETIME)
        late = self.begun(sessions)
        await self.fails(sessions.renew(sessions.check(late.token), other.refresh_token), BadToken)

    async def test_the_end_of_a_session_is_that_of_all_its_tokens(self) -> None:
        sessions = await self.made()
        first, other = self.begun(sessions), self.begun(sessions)
        claims = sessions.check(first.token)
        second = await sessions.renew(claims, first.refresh_token)
        await sessions.end(claims)
        for again in (sessions, await self.restarted()):
            assert self.refused(again, first.token, second.token)
            await self.fails(again.renew(claims, second.refresh_token), BadToken)
            await self.fails(again.renew(claims, None), BadToken)
            again.check(other.token)

    async def test_all_that_a_user_had(self) -> None:
        sessions = await self.made()
        had = [self.begun(sessions) for _ in range(3)]
        renewed = await sessions.renew(sessions.check(had[0].token), None)
        other = self.begun(sessions, "bob")
        self.clock.advance(1)
        await sessions.end_all("ann")
        self.clock.advance(0.001)  # the same second
        new = sessions.begin("ann", sessions.moment())  # a user of the same name, made anew
        for again in (sessions, await self.restarted()):
            assert self.refused(again, *(granted.token for granted in had), renewed.token)
            await self.fails(again.renew(again.check(new.token), had[1].refresh_token), BadToken)
            again.check(new.token)
            again.check(other.token)

    async def test_a_password_that_was_checked_before_a_revocation(self) -> None:
        sessions = await self.made()
        since = sessions.moment()
        self.clock.advance(2)  # the check takes its time, and meanwhile somebody sets another password
        await sessions.end_all("ann")
        self.clock.advance(2)
        late = sessions.begin("ann", since)
        assert self.refused(sessions, late.token)
        sessions.check(sessions.begin("ann", sessions.moment()).token)

    async def test_renewing_does_not_outrun_a_revocation(self) -> None:
        sessions = await self.made()
        first = self.begun(sessions)
        claims = sessions.check(first.token)
        gate, waiting = await self.gate(self.database)
        renewing: Deferred[Granted] = ensureDeferred(sessions.renew(claims, first.refresh_token))
        self.clock.advance(1)
        ending = ensureDeferred(sessions.end_all("ann"))
        self.clock.advance(1)
        gate.leave.set()
        await waiting
        granted = await renewing
        await ending
        assert self.refused(sessions, granted.token)
        await self.fails(sessions.renew(claims, None), BadToken)

    async def test_durable_before_the_answer(self) -> None:
        sessions = await self.made()
        first, other = self.begun(sessions), self.begun(sessions)
        claims = sessions.check(first.token)
        for ending in (
            sessions.end(claims),
            sessions.end_all("bob"),
            sessions.renew(claims_of(sessions, other), other.refresh_token),
        ):
            gate, waiting = await self.gate(self.database)
            result: Deferred[Any] = ensureDeferred(ending)
            assert not result.called
            gate.leave.set()
            await waiting
            await result
        kinds = [row[0].split(":")[0] for row in await self.database.run_on_driver(lambda c: c.execute(GET).fetchall())]
        assert kinds == ["session", "token", "user"]

    async def test_what_cannot_be_stored_is_told_and_ends_all_the_same(self) -> None:
        sessions = await self.made()
        first, other = self.begun(sessions), self.begun(sessions, "bob")
        claims = sessions.check(first.token)
        await self.database.close()
        await self.fails(sessions.end(claims), DatabaseClosed)
        await self.fails(sessions.end_all("bob"), DatabaseClosed)
        assert self.refused(sessions, first.token, other.token)

    async def test_rows_go_when_what_they_end_has_expired(self) -> None:
        sessions = await self.made()
        first = self.begun(sessions)
        claims = sessions.check(first.token)
        second = await sessions.renew(claims, first.refresh_token)
        await sessions.end(claims)
        self.clock.advance(REFRESH_LIFETIME + 10)
        await sessions.end_all("bob")
        assert await self.database.run_on_driver(lambda c: c.execute(GET).fetchall()) == [("user:bob",)]
        assert self.refused(await self.restarted(), first.token, second.token)

    async def test_a_clock_that_was_set_back(self) -> None:
        sessions = await self.made()
        before = self.begun(sessions)
        await sessions.end_all("bob")
        self.clock.advance(-3600)
        await sessions.end_all("ann")
        for again in (sessions, await self.restarted()):
            for user in ("ann", "bob"):
                again.check(again.begin(user, again.moment()).token)
            self.clock.advance(3600)
            assert self.refused(again, before.token)
            self.clock.advance(-3600)

    async def test_a_log_in_in_the_same_moment_as_an_end(self) -> None:
        sessions = await self.made()
        before = sessions.begin("ann", sessions.moment())
        await sessions.end_all("ann")
        after = sessions.begin("ann", sessions.moment())
        assert self.refused(sessions, before.token)
        sessions.check(after.token)

    async def test_what_has_expired_is_forgotten_in_memory_as_well(self) -> None:
        await self.made()
        self.patch(revocations_module, "_SWEEP_LEAST", 50)
        revocations = Revocations(self.database, self.clock)
        for number in range(120):
            await revocations.revoke_session(str(number), NOW + 10)
            if number == 45:
                self.clock.advance(11)
                await revocations.revoke_session("kept", NOW + 10_000)
        assert len(revocations) <= 50
        assert revocations.revoked(Claims("ann", "1", "kept", 0, 0, 0))


def claims_of(sessions: Sessions, granted: Granted) -> Claims:
    return sessions.check(granted.token)


def test_the_key_is_that_of_signed_tokens(tmp_path: Any) -> None:
    clock = Clock()
    clock.advance(NOW)
    sessions = Sessions(clock, tmp_path / "tokens.key", Revocations(None, clock), "rpc")  # type: ignore[arg-type]
    sessions.prepare()
    granted = sessions.begin("ann", 0)
    key = load_key(tmp_path / "tokens.key")
    options = {"verify_exp": False, "verify_iat": False}
    for token, audience in ((granted.token, "appliance:rpc"), (granted.refresh_token, "appliance:rpc:refresh")):
        said = jwt.decode(token, key, ["HS256"], options=options, audience=audience)  # type: ignore[arg-type]
        assert (said["sub"], said["iat"]) == ("ann", NOW)
        assert said.keys() == {"sub", "jti", "sid", "ims", "iat", "exp", "aud"}
