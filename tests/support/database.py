"""A database in a temporary directory, for tests that need a real one."""

import tempfile
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from appliance.database.thread import Database


class Gate:
    """Work that holds the database thread until it is opened, so that others queue up behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.entered.set()
        assert self.leave.wait(30)


class DatabaseTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "appliance.db"
        self.addCleanup(self.remove)

    def remove(self) -> None:
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()

    async def opened(self, **options: Any) -> Database:
        database = Database(reactor, self.path, **options)  # type: ignore[arg-type]
        await database.open()
        self.addCleanup(lambda: ensureDeferred(database.close()))
        return database

    async def gate(self, database: Database) -> tuple[Gate, Deferred[None]]:
        gate = Gate()
        self.addCleanup(gate.leave.set)
        waiting = ensureDeferred(database.run(gate))
        assert gate.entered.wait(30)
        return gate, waiting

    async def fails(self, waiting: Awaitable[object], kind: type[BaseException]) -> Any:
        try:
            await waiting
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} was not raised")
