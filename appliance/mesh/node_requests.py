"""Requests for nodes: who may not make one himself asks, and a manager of the network decides."""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert, or_, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import NETWORK_MISSING, rights, rights_or_none
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.certificates.keys import HostKey, new_host_key
from appliance.mesh.errors import Missing, Unacceptable
from appliance.mesh.moments import now
from appliance.mesh.networks import find
from appliance.mesh.node_making import NewNode, create_in
from appliance.mesh.store.tables import networks, node_requests, permissions, users
from appliance.mesh.vault import Vault

PENDING, APPROVED, REJECTED = "pending", "approved", "rejected"
REQUEST_MISSING = "Node request not found"
LISTED_LIMIT = 1000


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A node that is wished for; a node is in one group at most, the first named."""

    network_id: int
    hostname: str
    groups: list[str] = []
    is_lighthouse: bool = False
    is_relay: bool = False


class NodeRequest(msgspec.Struct, frozen=True):
    """A request and what became of it; `groups` is a JSON text."""

    id: int
    network_id: int
    network_name: str
    requested_by_user_id: int
    requested_by_email: str | None
    hostname: str
    groups: str
    is_lighthouse: bool
    is_relay: bool
    status: str
    created_at: int
    processed_at: int | None
    rejection_reason: str | None
    created_node_id: int | None


class NodeRequests:
    """The requests in `store`."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault

    async def make(self, actor: Actor, wanted: NewRequest) -> NodeRequest:
        """
        Ask for a node. It is made at once where the user manages the network's nodes, or where he is in the network
        and its owner has said so. Raises `Missing` for a network that is not there, and what making a node raises.
        """
        moment, key = now(self._clock), new_host_key()

        def work(connection: Connection) -> NodeRequest:
            if connection.execute(select(networks.c.id).where(networks.c.id == wanted.network_id)).first() is None:
                raise Missing(NETWORK_MISSING)
            his = rights_or_none(connection, actor, wanted.network_id)
            made = connection.execute(
                insert(node_requests)
                .values(
                    network_id=wanted.network_id,
                    requested_by=actor.user_id,
                    hostname=wanted.hostname,
                    groups=msgspec.json.encode(wanted.groups).decode(),
                    is_lighthouse=wanted.is_lighthouse,
                    is_relay=wanted.is_relay,
                    status=PENDING,
                    created_at=moment,
                )
                .returning(node_requests.c.id)
            )
            request_id = int(made.scalar_one())
            _record(connection, actor, moment, "node_request_created", request_id, hostname=wanted.hostname)
            automatic = his is not None and his.member and find(connection, wanted.network_id).auto_approve_nodes
            if automatic or (his is not None and his.can_manage_nodes):
                self._approve(connection, actor, moment, _find(connection, request_id), key)
            return _find(connection, request_id)

        return await self._store.run(work)

    async def of(self, actor: Actor, network_id: int | None, status: str | None) -> list[NodeRequest]:
        """
        The user's own requests and those of networks whose nodes he manages; all for a system admin. The newest first,
        at most `LISTED_LIMIT`.
        """

        def work(connection: Connection) -> list[NodeRequest]:
            query = _select().order_by(node_requests.c.id.desc()).limit(LISTED_LIMIT)
            if not actor.system_admin:
                managed = select(permissions.c.network_id).where(
                    permissions.c.user_id == actor.user_id,
                    or_(permissions.c.role == "owner", permissions.c.can_manage_nodes),
                )
                query = query.where(
                    or_(node_requests.c.requested_by == actor.user_id, node_requests.c.network_id.in_(managed))
                )
            if network_id is not None:
                query = query.where(node_requests.c.network_id == network_id)
            if status is not None:
                query = query.where(node_requests.c.status == status)
            return [NodeRequest(*row) for row in connection.execute(query)]

        return await self._store.run(work)

    async def approve(self, actor: Actor, request_id: int) -> NodeRequest:
        """Make the node. Raises `Missing`, `Denied`, `Unacceptable` unless pending, and what making a node raises."""
        moment, key = now(self._clock), new_host_key()

        def work(connection: Connection) -> NodeRequest:
            request = self._decidable(connection, actor, request_id)
            self._approve(connection, actor, moment, request, key)
            return _find(connection, request_id)

        return await self._store.run(work)

    async def reject(self, actor: Actor, request_id: int, reason: str) -> NodeRequest:
        """Refuse the node. Raises `Missing`, `Denied`, and `Unacceptable` unless pending."""
        moment = now(self._clock)

        def work(connection: Connection) -> NodeRequest:
            self._decidable(connection, actor, request_id)
            _process(connection, actor, moment, request_id, status=REJECTED, rejection_reason=reason)
            _record(connection, actor, moment, "node_request_rejected", request_id, reason=reason)
            return _find(connection, request_id)

        return await self._store.run(work)

    def _decidable(self, connection: Connection, actor: Actor, request_id: int) -> NodeRequest:
        request = _find(connection, request_id)
        his = rights_or_none(connection, actor, request.network_id)
        if his is None and request.requested_by_user_id != actor.user_id:
            raise Missing(REQUEST_MISSING)
        if his is None:
            his = rights(connection, actor, request.network_id)
        his.require(his.can_manage_nodes)
        if request.status != PENDING:
            raise Unacceptable(f"The request is {request.status}, not pending")
        return request

    def _approve(self, connection: Connection, actor: Actor, moment: int, request: NodeRequest, key: HostKey) -> None:
        groups = msgspec.json.decode(request.groups, type=list[str])
        wanted = NewNode(
            name=request.hostname,
            group=groups[0] if groups else None,
            is_lighthouse=request.is_lighthouse or None,
            is_relay=request.is_relay,
        )
        made = create_in(connection, self._vault, actor, moment, request.network_id, wanted, key)
        _process(connection, actor, moment, request.id, status=APPROVED, created_node_id=made.node.id)
        _record(connection, actor, moment, "node_request_approved", request.id, node_id=made.node.id)


def _select() -> Any:
    return select(
        node_requests.c.id,
        node_requests.c.network_id,
        networks.c.name,
        node_requests.c.requested_by,
        users.c.email,
        node_requests.c.hostname,
        node_requests.c.groups,
        node_requests.c.is_lighthouse,
        node_requests.c.is_relay,
        node_requests.c.status,
        node_requests.c.created_at,
        node_requests.c.processed_at,
        node_requests.c.rejection_reason,
        node_requests.c.created_node_id,
    ).select_from(
        node_requests.join(networks, networks.c.id == node_requests.c.network_id).join(
            users, users.c.id == node_requests.c.requested_by
        )
    )


def _find(connection: Connection, request_id: int) -> NodeRequest:
    row = connection.execute(_select().where(node_requests.c.id == request_id)).first()
    if row is None:
        raise Missing(REQUEST_MISSING)
    return NodeRequest(*row)


def _process(connection: Connection, actor: Actor, moment: int, request_id: int, **values: Any) -> None:
    connection.execute(
        update(node_requests)
        .where(node_requests.c.id == request_id)
        .values(processed_at=moment, processed_by=actor.user_id, **values)
    )


def _record(connection: Connection, actor: Actor, moment: int, action: str, request_id: int, **details: Any) -> None:
    event = Event(action=action, resource_type="node_request", resource_id=request_id, details=details)
    record(connection, actor, moment, event)
