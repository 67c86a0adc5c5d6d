"""The mesh's own audit: written in the transaction of what it tells of, and shown by GET audit."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, insert, select

from appliance.database.redaction import Redactor
from appliance.database.store import Store
from appliance.mesh.actor import Actor
from appliance.mesh.store.rows import columns_of, to_structs
from appliance.mesh.store.tables import audit

T = TypeVar("T")

_INSERT = insert(audit)
_REDACTOR = "appliance_redactor"  # an option of a connection
_DEFAULT = Redactor()
_encode = msgspec.json.Encoder(order="sorted").encode


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: `action` is one of the mesh contract's, `result` is `success` or `failure`."""

    action: str
    resource_type: str | None = None
    resource_id: int | None = None
    result: str = "success"
    details: Mapping[str, Any] = {}


class AuditRow(msgspec.Struct, frozen=True):
    """An entry as it is kept; `details` is a JSON text."""

    id: int
    occurred_at: int
    action: str
    actor_user_id: int | None
    actor_identifier: str | None
    actor_email: str | None
    resource_type: str | None
    resource_id: int | None
    result: str
    details: str
    client_ip: str | None


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted; moments are inclusive."""

    limit: int = 50
    offset: int = 0
    action: str | None = None
    resource_type: str | None = None
    since: int | None = None
    until: int | None = None


class AuditedStore:
    """A store on whose connections `record` knows all names that mean secrets, those of the settings too."""

    def __init__(self, store: Store, redactor: Redactor) -> None:
        self._store = store
        self._redactor = redactor

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Implements `Store`."""
        return await self._store.run(lambda connection: work(self._knowing(connection)))

    def _knowing(self, connection: Connection) -> Connection:
        return connection.execution_options(**{_REDACTOR: self._redactor})


def record(connection: Connection, actor: Actor, moment: int, event: Event) -> None:
    """Write one entry. Secrets are taken out of the details by their names."""
    redactor = connection.get_execution_options().get(_REDACTOR, _DEFAULT)
    connection.execute(
        _INSERT,
        {
            "occurred_at": moment,
            "action": event.action,
            "actor_user_id": actor.user_id,
            "actor_identifier": actor.identifier,
            "actor_email": actor.email,
            "resource_type": event.resource_type,
            "resource_id": event.resource_id,
            "result": event.result,
            "details": _encode(redactor.redact(event.details)).decode(),
            "client_ip": actor.address or None,
        },
    )


def entries(connection: Connection, wanted: AuditFilter) -> list[AuditRow]:
    """Entries that match, newest first."""
    query = select(*columns_of(audit, AuditRow)).order_by(audit.c.id.desc()).limit(wanted.limit).offset(wanted.offset)
    if wanted.action is not None:
        query = query.where(audit.c.action == wanted.action)
    if wanted.resource_type is not None:
        query = query.where(audit.c.resource_type == wanted.resource_type)
    if wanted.since is not None:
        query = query.where(audit.c.occurred_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.occurred_at <= wanted.until)
    return to_structs(connection.execute(query), AuditRow)
