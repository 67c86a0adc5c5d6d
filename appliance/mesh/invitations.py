"""Invitations: somebody is asked by mail to join a network, and joins with the link he was sent."""

import secrets
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, or_, select, update
from twisted.internet.interfaces import IReactorTime

from appliance.database.store import Store
from appliance.mesh.access import Rights, rights, rights_or_none
from appliance.mesh.actor import Actor
from appliance.mesh.audit import Event, record
from appliance.mesh.errors import Denied, Gone, Missing, Unacceptable
from appliance.mesh.members import ALREADY_MEMBER, OWNER, Capabilities, add_member, is_member
from appliance.mesh.moments import DAY, now
from appliance.mesh.store.tables import invitations, networks, permissions, users
from appliance.mesh.vault import Vault

PENDING, ACCEPTED, EXPIRED, REVOKED = "pending", "accepted", "expired", "revoked"
NOT_SENT, SENDING, SENT, FAILED = "not_sent", "sending", "sent", "failed"
INVITATION_MISSING = "Invitation not found"
LISTED_LIMIT = 1000

_PURPOSE = "invitation"


class NewInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to invite where, and what he may do there."""

    email: str
    network_id: int
    capabilities: Capabilities
    days: int


class Invitation(msgspec.Struct, frozen=True):
    """An invitation as it is kept. `status` is that of this moment."""

    id: int
    email: str
    network_id: int
    network_name: str
    invited_by_user_id: int
    invited_by_email: str | None
    token_sealed: bytes
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool
    status: str
    expires_at: int
    accepted_at: int | None
    created_at: int
    email_status: str
    email_sent_at: int | None
    email_error: str | None

    @property
    def capabilities(self) -> Capabilities:
        """What whoever accepts may do."""
        return Capabilities(
            role=self.role,
            can_manage_nodes=self.can_manage_nodes,
            can_invite_users=self.can_invite_users,
            can_manage_firewall=self.can_manage_firewall,
        )


class Invitations:
    """The invitations in `store`. Who calls `make` and `resend` sees to the mail."""

    def __init__(self, store: Store, clock: IReactorTime, vault: Vault) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault

    def token(self, invitation: Invitation) -> str:
        """The token that the link holds."""
        return self._vault.open_invitation(invitation.token_sealed)

    async def make(self, actor: Actor, wanted: NewInvitation, email_status: str) -> Invitation:
        """Invite. Raises `Missing`, `Denied`, and `Unacceptable` for who is a member or has an invitation."""
        moment, token, email = now(self._clock), secrets.token_urlsafe(32), wanted.email.lower()

        def work(connection: Connection) -> Invitation:
            his = rights(connection, actor, wanted.network_id)
            _require_may_invite(his, wanted.capabilities)
            self._refuse_known(connection, wanted.network_id, email, moment)
            made = connection.execute(
                insert(invitations)
                .values(
                    network_id=wanted.network_id,
                    email=email,
                    invited_by=actor.user_id,
                    token_hash=self._vault.hash(_PURPOSE, token),
                    token_sealed=self._vault.seal_invitation(token),
                    status=PENDING,
                    email_status=email_status,
                    created_at=moment,
                    expires_at=moment + wanted.days * DAY,
                    **msgspec.structs.asdict(wanted.capabilities),
                )
                .returning(invitations.c.id)
            )
            found = _find(connection, invitations.c.id == int(made.scalar_one()), moment)
            _record(connection, actor, moment, "invitation_created", found)
            return found

        return await self._store.run(work)

    async def of(self, actor: Actor, network_id: int | None, status: str | None) -> list[Invitation]:
        """Those of networks that the user may invite to; all for a system admin. The newest first."""
        moment = now(self._clock)

        def work(connection: Connection) -> list[Invitation]:
            query = _select().order_by(invitations.c.id.desc()).limit(LISTED_LIMIT)
            if not actor.system_admin:
                his = select(permissions.c.network_id).where(
                    permissions.c.user_id == actor.user_id,
                    or_(permissions.c.role == OWNER, permissions.c.can_invite_users),
                )
                query = query.where(invitations.c.network_id.in_(his))
            if network_id is not None:
                query = query.where(invitations.c.network_id == network_id)
            found = [_invitation(row, moment) for row in connection.execute(query)]
            return [each for each in found if status is None or each.status == status]

        return await self._store.run(work)

    async def shown_to_all(self, token: str) -> Invitation:
        """The pending invitation with that token. Raises `Missing`, `Gone` once expired, `Unacceptable` otherwise."""
        moment = now(self._clock)
        return await self._store.run(lambda connection: self._open(connection, token, moment))

    async def accept(self, actor: Actor, token: str) -> Invitation:
        """Join the network. Raises what `shown_to_all` raises, and `Unacceptable` for another's address or a member."""
        moment = now(self._clock)

        def work(connection: Connection) -> Invitation:
            found = self._open(connection, token, moment)
            if actor.user_id is None or (actor.email or "").lower() != found.email:
                raise Unacceptable("The invitation was sent to another address")
            add_member(
                connection,
                found.network_id,
                actor.user_id,
                found.capabilities,
                found.invited_by_user_id,
                moment,
            )
            values = {"status": ACCEPTED, "accepted_at": moment}
            connection.execute(update(invitations).where(invitations.c.id == found.id).values(**values))
            _record(connection, actor, moment, "invitation_accepted", found)
            return found

        return await self._store.run(work)

    async def resend(self, actor: Actor, invitation_id: int, email_status: str) -> Invitation:
        """Send the mail once more. Raises `Missing`, `Denied`, and `Unacceptable` unless pending."""
        moment = now(self._clock)

        def work(connection: Connection) -> Invitation:
            found, his = self._visible(connection, actor, invitation_id, moment)
            his.require(his.can_invite_users or his.system_admin)
            if found.status != PENDING:
                raise Unacceptable(f"The invitation is {found.status}, not pending")
            values = {"email_status": email_status, "email_error": None}
            connection.execute(update(invitations).where(invitations.c.id == invitation_id).values(**values))
            _record(connection, actor, moment, "invitation_resend", found)
            return _find(connection, invitations.c.id == invitation_id, moment)

        return await self._store.run(work)

    async def revoke(self, actor: Actor, invitation_id: int) -> None:
        """Take it back. Raises `Missing`, `Denied`."""
        moment = now(self._clock)

        def work(connection: Connection) -> None:
            found, his = self._visible(connection, actor, invitation_id, moment)
            his.require(his.owner or his.system_admin or found.invited_by_user_id == actor.user_id)
            if found.status in (PENDING, EXPIRED):
                connection.execute(update(invitations).where(invitations.c.id == invitation_id).values(status=REVOKED))
            _record(connection, actor, moment, "invitation_deleted", found)

        await self._store.run(work)

    def _open(self, connection: Connection, token: str, moment: int) -> Invitation:
        found = _find(connection, invitations.c.token_hash == self._vault.hash(_PURPOSE, token), moment)
        if found.status == EXPIRED:
            raise Gone("Invitation has expired")
        if found.status != PENDING:
            raise Unacceptable(f"Invitation is {found.status}")
        return found

    def _visible(
        self, connection: Connection, actor: Actor, invitation_id: int, moment: int
    ) -> tuple[Invitation, Rights]:
        found = _find(connection, invitations.c.id == invitation_id, moment)
        his = rights_or_none(connection, actor, found.network_id)
        if his is None:
            raise Missing(INVITATION_MISSING)
        return found, his

    def _refuse_known(self, connection: Connection, network_id: int, email: str, moment: int) -> None:
        same = select(users.c.id).where(func.lower(users.c.email) == email)
        for user_id in connection.execute(same).scalars().all():
            if is_member(connection, network_id, user_id):
                raise Unacceptable(ALREADY_MEMBER)
        pending = select(invitations.c.id).where(
            invitations.c.network_id == network_id,
            invitations.c.email == email,
            invitations.c.status == PENDING,
            invitations.c.expires_at > moment,
        )
        if connection.execute(pending).first() is not None:
            raise Unacceptable("A pending invitation for this address exists already")


def remove_expired(connection: Connection, before: int) -> int:
    """Forget invitations that ended before a moment; how many there were."""
    return connection.execute(delete(invitations).where(invitations.c.expires_at < before)).rowcount


def _require_may_invite(his: Rights, wanted: Capabilities) -> None:
    his.require(his.can_invite_users or his.system_admin)
    if wanted.role == OWNER and not his.owner:
        raise Denied("Only an owner may invite owners")


def _select() -> Any:
    return select(
        invitations.c.id,
        invitations.c.email,
        invitations.c.network_id,
        networks.c.name,
        invitations.c.invited_by,
        users.c.email,
        invitations.c.token_sealed,
        invitations.c.role,
        invitations.c.can_manage_nodes,
        invitations.c.can_invite_users,
        invitations.c.can_manage_firewall,
        invitations.c.status,
        invitations.c.expires_at,
        invitations.c.accepted_at,
        invitations.c.created_at,
        invitations.c.email_status,
        invitations.c.email_sent_at,
        invitations.c.email_error,
    ).select_from(
        invitations.join(networks, networks.c.id == invitations.c.network_id).join(
            users, users.c.id == invitations.c.invited_by
        )
    )


def _invitation(row: Any, moment: int) -> Invitation:
    found = Invitation(*row)
    if found.status == PENDING and found.expires_at <= moment:
        return msgspec.structs.replace(found, status=EXPIRED)
    return found


def _find(connection: Connection, condition: Any, moment: int) -> Invitation:
    row = connection.execute(_select().where(condition)).first()
    if row is None:
        raise Missing(INVITATION_MISSING)
    return _invitation(row, moment)


def _record(connection: Connection, actor: Actor, moment: int, action: str, found: Invitation) -> None:
    details = {"email": found.email, "network": found.network_name, "role": found.role}
    event = Event(action=action, resource_type="invitation", resource_id=found.id, details=details)
    record(connection, actor, moment, event)
