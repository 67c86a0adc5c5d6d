"""What is written down of things that no request asks for."""

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from appliance.database.audit import AuditLog
from appliance.database.trail import Trail
from appliance.identity.caller import Caller
from tests.support.database import DatabaseTestCase

ANN = Caller("session", "ann", frozenset({"reader"}), address="192.0.2.7", surface="system")


class NoteTests(DatabaseTestCase):
    async def test_it_is_an_entry_like_others(self) -> None:
        log = AuditLog(await self.opened(), Clock())
        await Trail(log, "system").note(
            ANN, "terminal.start", "success", object="ann, process 7", details={"shell": "/bin/sh"}
        )
        (row,) = await log.entries()
        self.assertEqual((row.surface, row.actor_kind, row.actor_name), ("system", "session", "ann"))
        self.assertEqual((row.address, row.action, row.outcome), ("192.0.2.7", "terminal.start", "success"))
        self.assertEqual((row.object, row.details), ("ann, process 7", {"shell": "/bin/sh"}))

    async def test_without_the_database_the_servers_log_tells_it(self) -> None:
        database = await self.opened()
        await database.close()
        trail = Trail(AuditLog(database, Clock()), "system")
        with capturedLogs() as seen:
            await trail.note(ANN, "terminal.end", "success", object="ann, process 7", details={})
        (event,) = (event for event in seen if event["log_level"] is LogLevel.critical)
        self.assertEqual((event["action"], event["object"], event["actor"]), ("terminal.end", "ann, process 7", "ann"))
