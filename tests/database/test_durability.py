"""A process that is killed in the middle of writing must have kept every promise it made."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

WRITER = """
import os, sys
from sqlalchemy import text
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from appliance.database.audit import AuditEntry, AuditLog
from appliance.database.thread import Database

database = Database(reactor, sys.argv[1])
log = AuditLog(database, reactor)

async def write(worker):
    number = 0
    while True:
        name = f"{worker}-{number}"

        def work(connection):
            connection.execute(text("INSERT INTO nonces VALUES ('s', :name, 1)"), {"name": name})
            log.record_in(connection, AuditEntry(
                surface="test", actor_kind="user", actor_name="a", action="add", outcome="ok", object=name))

        await database.run(work)
        os.write(1, name.encode() + b"\\n")
        number += 1

async def main():
    await database.open()
    for worker in range(20):
        ensureDeferred(write(worker)).addErrback(lambda failure: os.write(2, str(failure).encode()))

reactor.callWhenRunning(lambda: ensureDeferred(main()))
reactor.run()
"""

VERIFIER = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from appliance.database.audit import AuditLog
from appliance.database.thread import Database

async def main():
    database = Database(reactor, sys.argv[1])
    await database.open()
    print(await AuditLog(database, reactor).verify())
    await database.close()

def stop(result):
    reactor.stop()
    return result

reactor.callWhenRunning(lambda: ensureDeferred(main()).addBoth(stop))
reactor.run()
"""


@pytest.mark.parametrize("promises", [1, 50, 333, 1000])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, promises: int) -> None:
    path = tmp_path / "appliance.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(promises)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    promised = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    assert len(promised) >= promises

    verified = subprocess.run(
        [sys.executable, "-c", VERIFIER, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with closing(sqlite3.connect(path)) as connection:
        stored = {name for (name,) in connection.execute("SELECT nonce FROM nonces")}
        logged = {name for (name,) in connection.execute("SELECT object FROM audit")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert promised <= stored
    assert logged == stored
    assert int(verified.stdout) == len(stored)
