"""The mesh's domain over both databases: a file, and a real PostgreSQL server that is started once."""

import atexit
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Connection, insert
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.database.migrate import HISTORY as APPLIANCE
from appliance.database.postgresql import PostgreSQL
from appliance.database.secret_box import MasterKey
from appliance.database.thread import Database
from appliance.mesh.actor import Actor
from appliance.mesh.networks import Network, Networks, NewNetwork
from appliance.mesh.nodes import Nodes
from appliance.mesh.store.history import HISTORY
from appliance.mesh.store.tables import users
from appliance.mesh.vault import Vault
from appliance.secret import Secret
from tests.support.listening import reactor
from tests.support.postgresql import PostgresServer, postgres_server

T = TypeVar("T")

START = 1_795_000_000.0


@cache
def shared_server() -> PostgresServer:
    """One server for all tests of a run."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgres_server())


class MeshTestCase(TestCase):
    """Tests that hold for a store; `on_both` makes the cases of a class run on each."""

    postgresql: ClassVar[bool] = False

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.clock = Clock()
        self.clock.advance(START)
        self.store: Database | PostgreSQL
        if self.postgresql:
            self.store = PostgreSQL(reactor, Secret(shared_server().new_database()), HISTORY)
        else:
            folder = tempfile.TemporaryDirectory()
            self.addCleanup(folder.cleanup)
            self.store = Database(reactor, Path(folder.name) / "x.db", history=APPLIANCE, others=(HISTORY,))
        await self.store.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.store.close()))
        self.vault = Vault(MasterKey(b"m" * 32))
        self.networks = Networks(self.store, self.clock, self.vault)
        self.nodes = Nodes(self.store, self.clock, self.vault)

    async def user(self, name: str, *, system_admin: bool = False) -> Actor:
        """A user who has logged in."""

        def work(connection: Connection) -> int:
            made = connection.execute(
                insert(users)
                .values(
                    sub=name,
                    email=f"{name}@example.test",
                    system_role="system-admin" if system_admin else "user",
                    created_at=0,
                )
                .returning(users.c.id)
            )
            return int(made.scalar_one())

        user_id = await self.store.run(work)
        return Actor(
            user_id=user_id,
            identifier=name,
            email=f"{name}@example.test",
            system_admin=system_admin,
            address="192.0.2.1",
        )

    async def network(self, owner: Actor, name: str = "office", subnet: str = "10.77.0.0/24", **more: Any) -> Network:
        """A network."""
        return await self.networks.create(owner, NewNetwork(name=name, subnet=subnet, **more))

    async def refused(self, kind: type[Exception], attempt: Awaitable[object]) -> str:
        """What `attempt` is refused with, which must be of that kind."""
        try:
            await attempt
        except kind as error:
            return str(error)
        raise AssertionError(f"no {kind.__name__}")

    async def at_once(self, attempts: list[Coroutine[Any, Any, T]]) -> list[T | Exception]:
        """Run all at the same time; what each came to."""

        async def outcome(attempt: Coroutine[Any, Any, T]) -> T | Exception:
            try:
                return await attempt
            except Exception as error:
                return error

        return await gatherResults([Deferred.fromCoroutine(outcome(attempt)) for attempt in attempts])

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Look into the database."""
        return await self.store.run(work)


def on_both(case: type[MeshTestCase]) -> type[MeshTestCase]:
    """A twin of a test case, for PostgreSQL: `OnPostgreSQL = on_both(OnSQLite)`."""
    return type(f"{case.__name__}OnPostgreSQL", (case,), {"postgresql": True, "__module__": case.__module__})
