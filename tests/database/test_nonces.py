from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import Clock

from appliance.database.nonces import LENGTH_LIMIT, SWEEP_LIMIT, Nonces
from appliance.database.schema import nonces
from appliance.database.thread import Database
from tests.support.database import DatabaseTestCase


class NoncesTests(DatabaseTestCase):
    async def made(self) -> Nonces:
        self.database = await self.opened()
        self.clock = Clock()
        self.clock.advance(1_000_000.5)
        return Nonces(self.database, self.clock)

    async def count(self) -> int:
        return len(await self.database.run(lambda connection: connection.execute(nonces.select()).all()))

    async def test_once_per_scope(self) -> None:
        used = await self.made()
        assert await used.use("a", "n", 60)
        assert not await used.use("a", "n", 60)
        assert await used.use("b", "n", 60)
        assert await used.use("a", "N", 60)

    async def test_replay_at_the_same_time(self) -> None:
        used = await self.made()
        answers = await gatherResults([ensureDeferred(used.use("a", "n", 60)) for _ in range(50)])
        assert sorted(answers) == [False] * 49 + [True]

    async def test_expires(self) -> None:
        used = await self.made()
        assert await used.use("a", "n", 60)
        self.clock.advance(59.9)
        assert not await used.use("a", "n", 60)
        self.clock.advance(1.1)
        assert await used.use("a", "n", 60)
        assert not await used.use("a", "n", 60)

    async def test_restart_forgets_nothing(self) -> None:
        used = await self.made()
        assert await used.use("a", "n", 60)
        await self.database.close()
        again = Database(reactor, self.path)  # type: ignore[arg-type]
        await again.open()
        assert not await Nonces(again, self.clock).use("a", "n", 60)
        await again.close()

    async def test_sweeps_expired_rows_in_portions(self) -> None:
        used = await self.made()
        await gatherResults([ensureDeferred(used.use("a", str(n), 60)) for n in range(SWEEP_LIMIT * 2 + 20)])
        assert await used.use("a", "last of the old", 60)
        self.clock.advance(61)
        assert await used.use("a", "x", 60)
        assert await self.count() == SWEEP_LIMIT + 22
        # Not swept yet, and nevertheless expired.
        assert await used.use("a", "last of the old", 60)
        assert await used.use("a", "y", 60)
        assert await self.count() == 3

    async def test_refuses_what_cannot_be_stored(self) -> None:
        used = await self.made()
        for scope, nonce in (("", "n"), ("a", ""), ("a", "n" * (LENGTH_LIMIT + 1)), ("a", "\udcff")):
            await self.fails(used.use(scope, nonce, 60), ValueError)
        assert await used.use("a", "n\0", 60) and await used.use("a", "n", 60)
        assert await used.use("a", "n" * LENGTH_LIMIT, 60)
