"""When SQLAlchemy is loaded, and by whom; each time in a process of its own, which has not loaded it yet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.database import thread
from appliance.database.errors import DatabaseUnavailable
from appliance.database.lazy import LazyModule
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
        assert not log.is_due(1)
        print("open")
        if len(sys.argv) > 2:
            print(await {uses[sys.argv[2]]})
        await database.close()

def stop(result):
    reactor.stop()
    return result

reactor.callWhenRunning(lambda: ensureDeferred(main()).addBoth(stop).addErrback(lambda failure: print(failure)))
reactor.run()
"""
ENTRY = 'AuditEntry(surface="s", actor_kind="k", actor_name="n", action="a", outcome="o")'
USES = {
    "record": f"log.record({ENTRY})",
    "entries": "log.entries()",
    "verify": "log.verify()",
    "prune": "log.prune(1)",
    "nonce": "nonces.use('s', 'n', 60)",
    "function": "database.run(lambda connection: connection.exec_driver_sql('SELECT 1').scalar())",
}


def output(path: Path, use: str = "None") -> list[str]:
    """What the program says that opens the database at `path` twice and makes `use` of it."""
    source = PROGRAM.replace("{uses[sys.argv[2]]}", use)
    done = subprocess.run(
        [sys.executable, "-c", source, str(path), *(["use"] if use != "None" else [])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_server_and_its_files_need_no_sqlalchemy(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert output(path) == ["open", "open"]
    assert path.stat().st_size > 0


@pytest.mark.parametrize("use", USES)
def test_the_database_thread_loads_it_at_the_first_use(tmp_path: Path, use: str) -> None:
    seen = output(tmp_path / "a.db", USES[use])
    assert [seen[0], seen[1], seen[3]] == ["open", "loaded in the thread database", "open"]
    assert len(seen) == 5


class LoadingTests(DatabaseTestCase):
    async def test_failing_to_load_it_fails_who_waits_and_is_tried_again(self) -> None:
        database = await self.opened()
        self.patch(thread, "batch", LazyModule("appliance.database.missing"))
        error = await self.fails(database.run(lambda connection: 1), DatabaseUnavailable)
        assert "cannot be loaded" in str(error) and "missing" in str(error)
        self.patch(thread, "batch", LazyModule("appliance.database.batch"))
        assert await database.run(lambda connection: 2) == 2

    async def test_unused_it_is_closed(self) -> None:
        database = await self.opened()
        await database.close()
        assert database.commits == 0
