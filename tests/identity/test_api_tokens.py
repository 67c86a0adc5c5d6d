import hashlib
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from appliance.database.errors import DatabaseClosed
from appliance.database.thread import Database
from appliance.identity import api_tokens
from appliance.identity.api_tokens import PREFIX, ApiToken, ApiTokens, TooManyApiTokens, UnknownApiToken
from appliance.identity.signed_tokens import BadToken
from tests.support.database import DatabaseTestCase

NOW = 1_800_000_000


class ApiTokensTests(DatabaseTestCase):
    async def made(self) -> ApiTokens:
        self.clock = Clock()
        self.clock.advance(NOW + 0.5)
        self.database = await self.opened()
        tokens = ApiTokens(self.clock, self.database)
        await tokens.load()
        return tokens

    async def restarted(self) -> ApiTokens:
        await self.database.close()
        self.database = Database(reactor, self.path)  # type: ignore[arg-type]
        await self.database.open()
        self.addCleanup(lambda: ensureDeferred(self.database.close()))
        tokens = ApiTokens(self.clock, self.database)
        await tokens.load()
        return tokens

    async def create(self, tokens: ApiTokens, user: str = "ann", expires_at: int | None = None) -> tuple[str, ApiToken]:
        text, token = await tokens.create(user, "backup", expires_at)
        return text.reveal(), token

    async def rows(self) -> list[tuple[object, ...]]:
        return await self.database.run_on_driver(
            lambda connection: connection.execute("SELECT * FROM api_tokens ORDER BY id").fetchall()
        )

    def refused(self, tokens: ApiTokens, *texts: str) -> bool:
        for text in texts:
            with self.assertRaises(BadToken):
                tokens.check(text)
            with self.assertRaises(BadToken):
                tokens.note_use(text)
        return True

    async def test_made_checked_and_kept(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens, expires_at=NOW + 60)
        expected = ApiToken(id=token.id, name="backup", username="ann", created_at=NOW, expires_at=NOW + 60)
        assert text.startswith(PREFIX) and len(text) == len(PREFIX) + 43
        again = await self.restarted()
        for each in (tokens, again):
            assert each.check(text) == each.find(token.id) == expected
            assert each.all() == [expected]
        other, _ = await self.create(again)
        assert other != text

    async def test_the_text_is_nowhere_stored(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        hashed = hashlib.sha256(text.encode()).hexdigest()
        assert await self.rows() == [(token.id, "backup", "ann", hashed, NOW, None, None)]
        await self.database.close()
        written = b"".join(file.read_bytes() for file in self.directory.iterdir())
        assert hashed.encode() in written
        assert text.removeprefix(PREFIX).encode() not in written
        assert text not in repr(vars(tokens))

    async def test_what_is_no_token(self) -> None:
        tokens = await self.made()
        text, _ = await self.create(tokens)
        changed = text[:-1] + ("A" if text[-1] != "A" else "B")
        self.refused(tokens, "", PREFIX, changed, text[:-1], text + "x", text.upper(), f" {text}", "\udcff" * len(text))
        self.refused(tokens, hashlib.sha256(text.encode()).hexdigest(), text.removeprefix(PREFIX), "x" * 1_000_000)

    async def test_expires_to_the_second(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens, expires_at=NOW + 60)
        forever, _ = await self.create(tokens)
        self.clock.rightNow = NOW + 59.9
        tokens.check(text)
        self.clock.rightNow = NOW + 60.0
        self.refused(tokens, text)
        self.refused(await self.restarted(), text)
        assert tokens.find(token.id) == token  # still to be seen, and to be deleted
        self.clock.rightNow = NOW * 2.0
        tokens.check(forever)

    async def test_deleted(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        other, _ = await self.create(tokens)
        await tokens.delete(token.id)
        for each in (tokens, await self.restarted()):
            self.refused(each, text)
            each.check(other)
            with self.assertRaises(UnknownApiToken):
                each.find(token.id)
        tokens = await self.restarted()
        for unknown in (token.id, "", "x" * 1000):
            await self.fails(tokens.delete(unknown), UnknownApiToken)
        assert len(await self.rows()) == 1

    async def test_deleted_twice_at_once(self) -> None:
        tokens = await self.made()
        _, token = await self.create(tokens)
        first, second = (ensureDeferred(tokens.delete(token.id)) for _ in range(2))
        await first
        await self.fails(second, UnknownApiToken)

    async def test_goes_with_its_user(self) -> None:
        tokens = await self.made()
        texts = [(await self.create(tokens))[0] for _ in range(3)]
        other, _ = await self.create(tokens, "bob")
        deleting = ensureDeferred(tokens.delete_of("ann"))
        self.refused(tokens, *texts)  # at once
        await deleting
        for each in (tokens, await self.restarted()):
            self.refused(each, *texts)
            assert [token.username for token in each.all()] == ["bob"]
            each.check(other)

    async def test_one_that_is_being_made_goes_too(self) -> None:
        tokens = await self.made()
        gate, waiting = await self.gate(self.database)
        making = ensureDeferred(self.create(tokens))
        deleting = ensureDeferred(tokens.delete_of("ann"))
        gate.leave.set()
        await waiting
        text, _ = await making
        await deleting
        self.refused(tokens, text)
        assert await self.rows() == [] == tokens.all()

    async def test_so_many_and_no_more(self) -> None:
        tokens = await self.made()
        with patch.object(api_tokens, "TOKENS_PER_USER", 3):
            making = [ensureDeferred(self.create(tokens)) for _ in range(5)]
            made = [await each for each in making[:3]]
            for each in making[3:]:
                await self.fails(each, TooManyApiTokens)
            await self.create(tokens, "bob")
            assert len(await self.rows()) == len(tokens.all()) == 4
            await tokens.delete(made[0][1].id)
            await self.create(tokens)

    async def test_when_they_were_used(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        unused, _ = await self.create(tokens)
        commits = self.database.commits
        for _ in range(100):
            tokens.note_use(text)
            self.clock.advance(0.25)
        assert tokens.find(token.id).last_used_at == NOW + 25
        assert self.database.commits == commits
        await tokens.write_uses()
        await tokens.write_uses()
        assert self.database.commits == commits + 1
        again = await self.restarted()
        assert again.find(token.id).last_used_at == NOW + 25
        assert again.check(unused).last_used_at is None

    async def test_a_use_that_cannot_be_stored_is_stored_later(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        tokens.note_use(text)
        with patch.object(self.database, "run_on_driver", side_effect=DatabaseClosed("closed")):
            await self.fails(tokens.write_uses(), DatabaseClosed)
        await tokens.write_uses()
        assert (await self.restarted()).find(token.id).last_used_at == NOW

    async def test_one_that_was_used_and_deleted(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        tokens.note_use(text)
        await tokens.delete(token.id)
        await tokens.write_uses()
        assert await self.rows() == []

    async def test_what_cannot_be_stored_is_not_there(self) -> None:
        tokens = await self.made()
        text, token = await self.create(tokens)
        await self.database.close()
        await self.fails(tokens.create("ann", "backup"), DatabaseClosed)
        await self.fails(tokens.delete(token.id), DatabaseClosed)
        assert tokens.all() == [token] and tokens.check(text) is token
        await self.fails(tokens.delete_of("ann"), DatabaseClosed)
        self.refused(tokens, text)
