"""Enrolment: a code that an administrator hands over, and that a device redeems once for its token."""

import re
import secrets

import msgspec
from sqlalchemy import Connection, insert, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import node_rights
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import MeshError, Missing, Unacceptable
from appliance.mesh.moments import HOUR, now
from appliance.mesh.node_rows import find_node
from appliance.mesh.store.tables import enrollment_codes, networks, nodes
from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
LENGTH = 16
NO_CERTIFICATE = "Node has no certificate yet. Create a certificate first."

_CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
_PURPOSE = "enrollment code"


class NewCode(msgspec.Struct, frozen=True):
    """A code that was made; shown once."""

    code: str
    expires_at: int
    node_id: int
    hostname: str


class Enrolled(msgspec.Struct, frozen=True):
    """What a device gets for a code."""

    device_token: str
    node_id: int
    hostname: str
    network_name: str


class Enrollment:
    """Codes in `store`, which keeps a keyed hash of each."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault, tokens: Tokens) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._tokens = tokens

    async def make_code(self, actor: Actor, node_id: int, hours: int) -> NewCode:
        """A code for a node, good for `hours`. Raises `Missing`, `Denied`, `Unacceptable`."""
        moment = now(self._clock)
        code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))

        def work(connection: Connection) -> NewCode:
            his = node_rights(connection, actor, node_id, moment)
            his.require(his.can_manage_nodes)
            node = find_node(connection, node_id)
            if node.certificate_id is None:
                raise Unacceptable(NO_CERTIFICATE)
            expires_at = moment + hours * HOUR
            connection.execute(
                insert(enrollment_codes).values(
                    node_id=node_id,
                    code_hash=self._vault.hash(_PURPOSE, code),
                    created_by=actor.user_id,
                    created_at=moment,
                    expires_at=expires_at,
                )
            )
            event = Event(
                action="enrollment_code_created",
                resource_type="node",
                resource_id=node_id,
                details={"hostname": node.hostname, "hours": hours},
            )
            record(connection, actor, moment, event)
            return NewCode(code, expires_at, node_id, node.hostname)

        return await self._store.run(work)

    async def redeem(self, actor: Actor, given: str) -> Enrolled:
        """
        Use a code up and give its node's device a token; tokens from before count no more.

        Raises `Unacceptable` for a code that was used or has expired, and `Missing` for one that never was.
        """
        code = given.strip().upper()
        try:
            return await self._redeem(actor, code)
        except MeshError as error:
            event = Event(action="device_enroll_failure", result="failure", details={"reason": str(error)})
            moment = now(self._clock)
            await self._store.run(lambda connection: record(connection, actor, moment, event))
            raise

    async def _redeem(self, actor: Actor, code: str) -> Enrolled:
        if not code:
            raise Unacceptable("Code is required")
        if _CODE.fullmatch(code) is None:
            raise Missing("Invalid or expired code")
        moment, hashed = now(self._clock), self._vault.hash(_PURPOSE, code)

        def work(connection: Connection) -> Enrolled:
            found = connection.execute(
                select(
                    enrollment_codes.c.id,
                    enrollment_codes.c.node_id,
                    enrollment_codes.c.expires_at,
                    enrollment_codes.c.used_at,
                ).where(enrollment_codes.c.code_hash == hashed)
            ).first()
            if found is None:
                raise Missing("Invalid or expired code")
            if found.used_at is not None:
                raise Unacceptable("Code already used")
            if found.expires_at <= moment:
                raise Unacceptable("Code expired")
            connection.execute(update(enrollment_codes).where(enrollment_codes.c.id == found.id).values(used_at=moment))
            node = connection.execute(
                update(nodes)
                .where(nodes.c.id == found.node_id)
                .values(token_version=nodes.c.token_version + 1)
                .returning(nodes.c.hostname, nodes.c.network_id, nodes.c.token_version, nodes.c.certificate_id)
            ).one()
            if node.certificate_id is None:
                raise Unacceptable(NO_CERTIFICATE)
            name = connection.execute(select(networks.c.name).where(networks.c.id == node.network_id)).scalar_one()
            event = Event(
                action="device_enroll_success",
                resource_type="node",
                resource_id=found.node_id,
                details={"hostname": node.hostname},
            )
            record(connection, actor, moment, event)
            token = self._tokens.of_device(found.node_id, node.token_version)
            return Enrolled(token, found.node_id, node.hostname, name)

        return await self._store.run(work)
