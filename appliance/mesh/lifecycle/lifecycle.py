"""Does every hour what is due, in portions that do not hold back anybody else."""

from sqlalchemy import Connection, delete, select
from twisted.internet.interfaces import IReactorTime

from appliance.background import Background
from appliance.database.store import Store
from appliance.mesh.invitations import remove_expired
from appliance.mesh.lifecycle import renewal, rotation
from appliance.mesh.moments import DAY, now
from appliance.mesh.store.tables import audit, blocklist, challenges, enrollment_codes, revoked_tokens
from appliance.mesh.vault import Vault

INTERVAL = 3600.0
PORTION = 100
ENTRIES = 5000
INVITATIONS_KEPT = 365 * DAY
CODES_KEPT = 30 * DAY


class Lifecycle:
    """What is due in `store`. Several controllers may do it at the same time. Audit entries stay for `keep_days`."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault, keep_days: int) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._keep = keep_days * DAY

    def start(self, background: Background) -> None:
        """Begin; `background` owns it."""
        background.repeat("the mesh's lifecycle", self._clock, self.run, delay=60.0, interval=INTERVAL)

    async def run(self) -> None:
        """Do once what is due."""
        moment = now(self._clock)
        await self._store.run(lambda connection: rotation.advance(connection, self._vault, moment))
        await self._store.run(lambda connection: renewal.end_replaced(connection, moment))
        while await self._store.run(lambda connection: self._renew_some(connection, moment)):
            pass
        await self._store.run(lambda connection: _forget(connection, moment))
        while await self._store.run(lambda connection: _forget_entries(connection, moment - self._keep)):
            pass

    def _renew_some(self, connection: Connection, moment: int) -> int:
        ids = renewal.due(connection, moment, PORTION)
        renewal.renew(connection, self._vault, ids, moment)
        return len(ids)


def _forget(connection: Connection, moment: int) -> None:
    """What has expired opens nothing: tokens, challenges, blocked certificates, codes and invitations."""
    for table in (revoked_tokens, challenges, blocklist):
        connection.execute(delete(table).where(table.c.expires_at < moment))
    connection.execute(delete(enrollment_codes).where(enrollment_codes.c.expires_at < moment - CODES_KEPT))
    remove_expired(connection, moment - INVITATIONS_KEPT)


def _forget_entries(connection: Connection, before: int) -> int:
    """Remove those of the oldest audit entries that are from before a moment; how many they were."""
    oldest = select(audit.c.id, audit.c.occurred_at).order_by(audit.c.id).limit(ENTRIES).subquery()
    old = select(oldest.c.id).where(oldest.c.occurred_at < before)
    return connection.execute(delete(audit).where(audit.c.id.in_(old))).rowcount
