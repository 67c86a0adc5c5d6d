"""Signs of life, written in batches: each is acknowledged only once its batch is durable."""

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, case, func, update
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from appliance.background import Background
from appliance.database.store import Store
from appliance.mesh.device.gathering import Gathering
from appliance.mesh.moments import now
from appliance.mesh.node_rows import ACTIVE, REVOKED
from appliance.mesh.store.tables import nodes

BATCH_LIMIT = 500

# A poll that comes late must not set the clock back; a node without a certificate is not active.
_ALIVE = (
    update(nodes)
    .where(nodes.c.id == bindparam("node_id"))
    .values(
        last_seen=case((nodes.c.last_seen > bindparam("moment"), nodes.c.last_seen), else_=bindparam("moment")),
        status=case((nodes.c.status == REVOKED, REVOKED), else_=ACTIVE),
    )
)
_POLLED = _ALIVE.values(first_polled_at=func.coalesce(nodes.c.first_polled_at, bindparam("moment")))


class Heartbeats:
    """Notes that nodes are alive. `background` owns the writing."""

    def __init__(self, store: Store, clock: IReactorTime, background: Background) -> None:
        self._store = store
        self._clock = clock
        self._gathering = Gathering(background, "writing of heartbeats", self._write)

    def beat(self, node_id: int, *, polled: bool = False) -> Deferred[int]:
        """
        Note that a node is alive, and with `polled` that it has fetched its configuration.

        Fires with the moment when that is durable. Raises `Overloaded`; fails with a `DatabaseError`.
        """
        return self._gathering.ask(node_id, flag=polled)

    async def _write(self, batch: Mapping[int, bool]) -> int:
        moment = now(self._clock)
        # In the order of ids: two controllers that write the same nodes wait for each other and not in a circle.
        rows = [(polled, {"node_id": node_id, "moment": moment}) for node_id, polled in sorted(batch.items())]
        for begin in range(0, len(rows), BATCH_LIMIT):
            await self._store.run(_Work(rows[begin : begin + BATCH_LIMIT]))
        return moment


class _Work:
    """One batch's statements."""

    def __init__(self, rows: list[tuple[bool, dict[str, int]]]) -> None:
        self._alive = [row for polled, row in rows if not polled]
        self._polled = [row for polled, row in rows if polled]

    def __call__(self, connection: Connection) -> None:
        if self._alive:
            connection.execute(_ALIVE, self._alive)
        if self._polled:
            connection.execute(_POLLED, self._polled)
