"""When SQLAlchemy is loaded, and by whom; watched in a process of its own, which has not loaded it yet."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from appliance.database.audit import AuditEntry, AuditLog
from tests.support.database import DatabaseTestCase

PROGRAM = """
import sys, threading
from importlib.abc import MetaPathFinder
from pathlib import Path

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "sqlalchemy":
            print("loaded in the thread", threading.current_thread().name)
        assert name.split(".")[0] not in ("alembic", "mako") and name != "sqlalchemy.orm", name

sys.meta_path.insert(0, Watch())

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
import appliance.server
from appliance.database.audit import AuditEntry, AuditLog
from appliance.database.nonces import Nonces
from appliance.database.thread import Database

async def main():
    for _ in range(2):
        database = Database(reactor, sys.argv[1])
        await database.open()
        log, nonces = AuditLog(database, reactor), Nonces(database, reactor)
        print("open")
        print(await USE)
        await database.close()

def stop(result):
    reactor.stop()
    return result

reactor.callWhenRunning(lambda: ensureDeferred(main()).addBoth(stop).addErrback(lambda failure: print(failure)))
reactor.run()
"""
ENTRY = 'AuditEntry(surface="s", actor_kind="k", actor_name="n", action="a", outcome="o")'
FUNCTION = "database.run(lambda connection: connection.exec_driver_sql('SELECT 1').scalar())"


def output(path: Path, use: str) -> list[str]:
    """What the program says that opens the database at `path` twice and each time makes `use` of it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("USE", use), str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("use", "answers"),
    [
        (f"log.record({ENTRY})", ["1", "2"]),
        ("log.entries()", ["[]", "[]"]),
        ("log.verify()", ["0", "0"]),
        ("log.prune(1)", ["0", "0"]),
        ("nonces.use('s', 'n', 60)", ["True", "False"]),
    ],
)
def test_the_server_with_its_log_and_nonces_does_without(tmp_path: Path, use: str, answers: list[str]) -> None:
    assert output(tmp_path / "a.db", use) == ["open", answers[0], "open", answers[1]]


def test_the_database_thread_loads_it_for_the_first_function(tmp_path: Path) -> None:
    seen = ["open", "loaded in the thread database", "1", "open", "1"]
    assert output(tmp_path / "a.db", FUNCTION) == seen


class LoadingTests(DatabaseTestCase):
    async def test_failing_to_load_it_fails_who_asked_and_is_tried_again(self) -> None:
        database = await self.opened()
        log = AuditLog(database, Clock())
        entry = AuditEntry(surface="s", actor_kind="k", actor_name="n", action="a", outcome="o")
        with patch.dict(sys.modules, {"appliance.database.core": None}):
            failing = ensureDeferred(database.run(lambda connection: 1))
            recording = ensureDeferred(log.record(entry))
            await self.fails(failing, ImportError)
            assert await recording == 1
        assert await database.run(lambda connection: 2) == 2

    async def test_closed_without_any_use(self) -> None:
        database = await self.opened()
        await database.close()
        assert database.commits == 0
