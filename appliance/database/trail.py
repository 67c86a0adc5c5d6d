"""The audit trail of a surface: each request that changed something, or tried to, as an entry of the audit log."""

from collections.abc import Mapping

from twisted.logger import Logger

from appliance.database.audit import AuditEntry, AuditLog
from appliance.database.errors import DatabaseError
from appliance.http.call import Call
from appliance.identity.caller import Caller


class Trail:
    """Writes entries under the name of one surface; implements `http.surface.AuditTrail`.

    What the database cannot take goes to the server's log instead: what is written down has happened already, and its
    answer must not be lost over that.
    """

    _log = Logger()

    def __init__(self, audit_log: AuditLog, surface: str) -> None:
        self._audit_log = audit_log
        self._surface = surface

    async def record(self, call: Call, action: str, outcome: str) -> None:
        """Return once the entry is durable. Never raises for want of the database."""
        caller = call.caller
        entry = AuditEntry(
            surface=self._surface,
            actor_kind=caller.kind if caller is not None else "anonymous",
            actor_name=caller.name if caller is not None else "",
            address=call.address,
            action=action,
            object=call.audit_object or call.path,
            outcome=outcome,
            details={"request": call.id, **call.audit_details},
        )
        try:
            await self._audit_log.record(entry)
        except DatabaseError as error:
            self.missed(call, action, outcome, error)

    async def note(
        self, caller: Caller, action: str, outcome: str, *, object: str, details: Mapping[str, object]
    ) -> None:
        """The same for what no request asks for: `caller` does it over a connection that is open already."""
        entry = AuditEntry(
            surface=self._surface,
            actor_kind=caller.kind,
            actor_name=caller.name,
            address=caller.address,
            action=action,
            object=object,
            outcome=outcome,
            details=details,
        )
        try:
            await self._audit_log.record(entry)
        except DatabaseError as error:
            self._missed(action, object, caller.name, caller.address, outcome, error)

    def missed(self, call: Call, action: str, outcome: str, error: Exception) -> None:
        """Tell the server's log what is missing from the audit log, and why."""
        name = call.caller.name if call.caller is not None else "anonymous"
        self._missed(action, call.audit_object or call.path, name, call.address, outcome, error)

    def _missed(self, action: str, object: str, actor: str, address: str, outcome: str, error: Exception) -> None:
        self._log.critical(
            "Not in the audit log: {action} {object} by {actor} from {address}, {outcome}: {error}",
            action=action,
            object=object,
            actor=actor,
            address=address,
            outcome=outcome,
            error=error,
        )
