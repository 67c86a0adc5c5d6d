"""What the endpoints about people take and give: members, users, requests, grants, invitations, the audit."""

from typing import Annotated, Literal

import msgspec

from appliance.mesh.administration import CountedUser, NetworkOfUser
from appliance.mesh.audit import AuditFilter, AuditRow
from appliance.mesh.errors import Invalid
from appliance.mesh.grants import Grant
from appliance.mesh.invitations import Invitation
from appliance.mesh.members import Capabilities, Member, MemberChange
from appliance.mesh.models import GroupName, Hostname, Id, Short
from appliance.mesh.moments import parse, shown, shown_or_none
from appliance.mesh.node_requests import NodeRequest

Role = Literal["owner", "member"]
Email = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}$(?!\n)", max_length=254)
]
"""A mailbox (RFC 5321 section 4.1.2) whose name needs no quotes."""
Word = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00]*$(?!\n)")]
Moment = Annotated[str, msgspec.Meta(max_length=40, description="ISO 8601; UTC where it names no zone.")]


class MemberBody(msgspec.Struct, kw_only=True):
    """Whom to bring in, and what he may do."""

    user_id: Id
    role: Role = "member"
    can_manage_nodes: bool = False
    can_invite_users: bool = False
    can_manage_firewall: bool = False


class MemberChangeBody(msgspec.Struct, kw_only=True):
    """What is to change; what is missing or null stays."""

    role: Role | None = None
    can_manage_nodes: bool | None = None
    can_invite_users: bool | None = None
    can_manage_firewall: bool | None = None

    def change(self) -> MemberChange:
        """For the domain."""
        return MemberChange(**msgspec.structs.asdict(self))


class MemberReply(msgspec.Struct):
    """A member of a network."""

    user_id: int
    email: str | None
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool
    invited_by_user_id: int | None
    invited_by_email: str | None
    created_at: str


class RoleBody(msgspec.Struct, kw_only=True):
    """`user` or `system-admin`."""

    system_role: Word | None = None


class UserReply(msgspec.Struct):
    """A user."""

    id: int
    oidc_sub: str
    email: str | None
    system_role: str
    created_at: str
    network_count: int


class UserDetail(UserReply):
    """A user and his networks."""

    networks: list[NetworkOfUser]


class RequestBody(msgspec.Struct, kw_only=True):
    """A node that is wished for."""

    network_id: Id
    hostname: Hostname
    groups: Annotated[list[GroupName], msgspec.Meta(max_length=1)] = []
    is_lighthouse: bool = False
    is_relay: bool = False


class RequestsQuery(msgspec.Struct):
    """Which requests."""

    network_id: Id | None = None
    status: Word | None = None


class RejectBody(msgspec.Struct, kw_only=True):
    """Why not."""

    reason: Short = ""


class NothingBody(msgspec.Struct):
    """Nothing needs to be said."""


class RequestReply(msgspec.Struct):
    """A request for a node and what became of it."""

    id: int
    network_id: int
    network_name: str
    requested_by_user_id: int
    requested_by_email: str | None
    hostname: str
    groups: list[str]
    is_lighthouse: bool
    is_relay: bool
    status: str
    created_at: str
    processed_at: str | None
    rejection_reason: str | None
    created_node_id: int | None


class GrantBody(msgspec.Struct, kw_only=True):
    """Which system admin may look where, and for how long."""

    admin_user_id: Id
    resource_type: Word
    resource_id: Id
    duration_hours: Annotated[int, msgspec.Meta(ge=1, le=8760)] = 24
    reason: Short


class GrantsQuery(msgspec.Struct):
    """Whether those that have ended are left out."""

    active_only: bool = True


class GrantReply(msgspec.Struct):
    """Access that was given."""

    id: int
    admin_user_id: int
    admin_email: str | None
    resource_type: str
    resource_id: int
    resource_name: str
    granted_by_user_id: int
    granted_by_email: str | None
    expires_at: str
    created_at: str
    revoked_at: str | None
    reason: str


class InvitationBody(msgspec.Struct, kw_only=True):
    """Whom to invite, and what he may do."""

    email: Email
    network_id: Id
    role: Role = "member"
    can_manage_nodes: bool = False
    can_invite_users: bool = False
    can_manage_firewall: bool = False
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7


class InvitationsQuery(msgspec.Struct):
    """Which invitations."""

    network_id: Id | None = None
    status_filter: Word | None = None
    status: Word | None = None


class PublicInvitation(msgspec.Struct):
    """What whoever has the link may know."""

    email: str
    network_name: str
    invited_by_email: str | None
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool
    status: str
    expires_at: str


class InvitationReply(msgspec.Struct):
    """An invitation, and what became of its mail."""

    id: int
    email: str
    network_id: int
    network_name: str
    invited_by_user_id: int
    invited_by_email: str | None
    token: str
    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool
    status: str
    expires_at: str
    accepted_at: str | None
    created_at: str
    email_status: str
    email_sent_at: str | None
    email_error: str | None


class Message(msgspec.Struct):
    """What was done."""

    message: str


class AuditQuery(msgspec.Struct):
    """Which entries, from the newest on."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    offset: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    action: Word | None = None
    resource_type: Word | None = None
    from_date: Moment | None = None
    to_date: Moment | None = None

    def wanted(self) -> AuditFilter:
        """For the domain. Raises `Invalid`."""
        return AuditFilter(
            limit=self.limit,
            offset=self.offset,
            action=self.action,
            resource_type=self.resource_type,
            since=_moment("from_date", self.from_date),
            until=_moment("to_date", self.to_date),
        )


class AuditReply(msgspec.Struct):
    """An entry; `details` is a JSON text."""

    id: int
    occurred_at: str
    action: str
    actor_user_id: int | None
    actor_identifier: str | None
    actor_email: str | None
    resource_type: str | None
    resource_id: int | None
    result: str
    details: str
    client_ip: str | None


def capabilities(body: MemberBody | InvitationBody) -> Capabilities:
    """What a body gives."""
    return Capabilities(
        role=body.role,
        can_manage_nodes=body.can_manage_nodes,
        can_invite_users=body.can_invite_users,
        can_manage_firewall=body.can_manage_firewall,
    )


def member_reply(member: Member) -> MemberReply:
    """A member as clients read him."""
    values = msgspec.structs.asdict(member)
    values["created_at"] = shown(member.created_at)
    return MemberReply(**values)


def user_reply(user: CountedUser) -> UserReply:
    """A user as clients read him."""
    row = user.row
    return UserReply(row.id, row.sub, row.email, row.system_role, shown(row.created_at), user.network_count)


def user_detail(user: CountedUser, networks: list[NetworkOfUser]) -> UserDetail:
    """A user and his networks as clients read them."""
    return UserDetail(**msgspec.structs.asdict(user_reply(user)), networks=networks)


def request_reply(request: NodeRequest) -> RequestReply:
    """A request as clients read it."""
    values = msgspec.structs.asdict(request)
    values["groups"] = msgspec.json.decode(request.groups, type=list[str])
    values["created_at"] = shown(request.created_at)
    values["processed_at"] = shown_or_none(request.processed_at)
    return RequestReply(**values)


def grant_reply(grant: Grant) -> GrantReply:
    """A grant as clients read it."""
    values = msgspec.structs.asdict(grant)
    values["expires_at"] = shown(grant.expires_at)
    values["created_at"] = shown(grant.created_at)
    values["revoked_at"] = shown_or_none(grant.revoked_at)
    return GrantReply(**values)


def invitation_reply(found: Invitation, token: str) -> InvitationReply:
    """An invitation as those read it who may invite."""
    values = msgspec.structs.asdict(found)
    del values["token_sealed"]
    values["token"] = token
    values["expires_at"] = shown(found.expires_at)
    values["created_at"] = shown(found.created_at)
    values["accepted_at"] = shown_or_none(found.accepted_at)
    values["email_sent_at"] = shown_or_none(found.email_sent_at)
    return InvitationReply(**values)


def public_invitation(found: Invitation) -> PublicInvitation:
    """An invitation as everybody reads it who has the link."""
    return PublicInvitation(
        email=found.email,
        network_name=found.network_name,
        invited_by_email=found.invited_by_email,
        role=found.role,
        can_manage_nodes=found.can_manage_nodes,
        can_invite_users=found.can_invite_users,
        can_manage_firewall=found.can_manage_firewall,
        status=found.status,
        expires_at=shown(found.expires_at),
    )


def audit_reply(row: AuditRow) -> AuditReply:
    """An entry as clients read it."""
    values = msgspec.structs.asdict(row)
    values["occurred_at"] = shown(row.occurred_at)
    return AuditReply(**values)


def _moment(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError):
        raise Invalid(field, "a moment in ISO 8601 is wanted") from None
