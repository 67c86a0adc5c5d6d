"""The store on a real PostgreSQL server: durable, serial, and clear when the server is gone."""

from collections.abc import Callable
from typing import ClassVar

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, insert, select, update
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from appliance.database.errors import DatabaseClosed, DatabaseUnavailable
from appliance.database.postgresql import PostgreSQL
from appliance.mesh.store.history import HISTORY
from appliance.secret import Secret
from tests.support.listening import reactor
from tests.support.postgresql import PostgresServer, postgres_server

counters = Table("counters", MetaData(), Column("name", Text, primary_key=True), Column("value", Integer))


def make(connection: Connection) -> None:
    counters.create(connection)
    connection.execute(insert(counters).values(name="a", value=0))


def increment(connection: Connection) -> int:
    """Read, then write: what two at once would get wrong."""
    value = int(connection.execute(select(counters.c.value).where(counters.c.name == "a")).scalar_one())
    connection.execute(update(counters).where(counters.c.name == "a").values(value=value + 1))
    return value + 1


def add_if_missing(name: str) -> Callable[[Connection], bool]:
    def work(connection: Connection) -> bool:
        if connection.execute(select(counters).where(counters.c.name == name)).first() is not None:
            return False
        connection.execute(insert(counters).values(name=name, value=0))
        return True

    return work


class PostgreSQLTests(TestCase):
    server: ClassVar[PostgresServer]

    @classmethod
    def setUpClass(cls) -> None:
        manager = postgres_server()
        cls.server = manager.__enter__()
        cls.addClassCleanup(manager.__exit__, None, None, None)

    async def opened(self) -> PostgreSQL:
        store = PostgreSQL(reactor, Secret(self.server.new_database()), HISTORY)
        await store.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        await store.run(make)
        return store

    async def test_transactions_come_to_one_after_the_other(self) -> None:
        store = await self.opened()
        results = await gatherResults([Deferred.fromCoroutine(store.run(increment)) for _ in range(60)])
        self.assertEqual(sorted(results), list(range(1, 61)))

    async def test_what_was_checked_before_an_insert_holds(self) -> None:
        store = await self.opened()
        work = add_if_missing("b")
        results = await gatherResults([Deferred.fromCoroutine(store.run(work)) for _ in range(30)])
        self.assertEqual(results.count(True), 1)

    async def test_a_violation_is_told_to_the_caller_and_nothing_is_stored(self) -> None:
        store = await self.opened()

        def twice(connection: Connection) -> None:
            connection.execute(insert(counters).values(name="c", value=1))
            connection.execute(insert(counters).values(name="c", value=2))

        with self.assertRaises(IntegrityError):
            await store.run(twice)
        self.assertTrue(await store.run(add_if_missing("c")))

    async def test_an_error_of_the_function_is_the_callers(self) -> None:
        store = await self.opened()

        def fail(connection: Connection) -> None:
            increment(connection)
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            await store.run(fail)
        self.assertEqual(await store.run(increment), 1)

    async def test_a_server_that_went_and_came_back(self) -> None:
        store = await self.opened()
        self.server.stop()
        try:
            with self.assertRaises(DatabaseUnavailable):
                await store.run(increment)
        finally:
            self.server.start()
        self.assertEqual(await store.run(increment), 1)

    async def test_it_serves_only_while_it_is_open(self) -> None:
        store = PostgreSQL(reactor, Secret(self.server.new_database()), HISTORY)
        with self.assertRaises(DatabaseClosed):
            await store.run(make)
        await store.open()
        await store.close()
        with self.assertRaises(DatabaseClosed):
            await store.run(make)
        await store.close()
