"""Requests for nodes, access grants and invitations: one asks, another decides."""

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.identity.caller import anyone
from appliance.mesh.callers import actor_of, user
from appliance.mesh.grants import Grants, NewGrant
from appliance.mesh.invitations import Invitations, NewInvitation
from appliance.mesh.limits import Limits
from appliance.mesh.mail.outbox import Outbox
from appliance.mesh.models import ID
from appliance.mesh.models_people import (
    GrantBody,
    GrantReply,
    GrantsQuery,
    InvitationBody,
    InvitationReply,
    InvitationsQuery,
    Message,
    NothingBody,
    PublicInvitation,
    RejectBody,
    RequestBody,
    RequestReply,
    RequestsQuery,
    capabilities,
    grant_reply,
    invitation_reply,
    public_invitation,
    request_reply,
)
from appliance.mesh.node_requests import NewRequest, NodeRequests


class NodeRequestEndpoints:
    """node-requests."""

    routes = Routes(prefix="/node-requests", tag="Node requests")

    def __init__(self, requests: NodeRequests) -> None:
        self._requests = requests

    @routes.post(
        "",
        reply=RequestReply,
        who=user,
        body=JsonBody(RequestBody),
        audit="mesh.node-request.create",
        statuses=(404, 409),
    )
    async def request_node(self, call: Call, body: RequestBody) -> RequestReply:
        """Ask for a node. It is made at once for who may make one, or where the network's owner has said so."""
        call.audit_object = body.hostname
        wanted = NewRequest(
            network_id=body.network_id,
            hostname=body.hostname,
            groups=body.groups,
            is_lighthouse=body.is_lighthouse,
            is_relay=body.is_relay,
        )
        return request_reply(await self._requests.make(actor_of(call), wanted))

    @routes.get("", reply=list[RequestReply], who=user, query=RequestsQuery)
    async def list_node_requests(self, call: Call, query: RequestsQuery) -> list[RequestReply]:
        """One's own requests, and those one may decide; all of them for a system admin."""
        found = await self._requests.of(actor_of(call), query.network_id, query.status)
        return [request_reply(each) for each in found]

    @routes.post(
        f"/<{ID}:request_id>/approve",
        reply=RequestReply,
        who=user,
        body=JsonBody(NothingBody, required=False),
        audit="mesh.node-request.approve",
        statuses=(403, 409),
    )
    async def approve_node_request(self, call: Call, body: NothingBody | None, request_id: str) -> RequestReply:
        """Make the node that was asked for."""
        return request_reply(await self._requests.approve(actor_of(call), int(request_id)))

    @routes.post(
        f"/<{ID}:request_id>/reject",
        reply=RequestReply,
        who=user,
        body=JsonBody(RejectBody, required=False),
        audit="mesh.node-request.reject",
        statuses=(403,),
    )
    async def reject_node_request(self, call: Call, body: RejectBody | None, request_id: str) -> RequestReply:
        """Refuse the node that was asked for."""
        reason = body.reason if body is not None else ""
        return request_reply(await self._requests.reject(actor_of(call), int(request_id), reason))


class GrantEndpoints:
    """access-grants."""

    routes = Routes(prefix="/access-grants", tag="Access grants")

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    @routes.post(
        "", reply=GrantReply, who=user, body=JsonBody(GrantBody), audit="mesh.grant.create", statuses=(403, 404)
    )
    async def create_grant(self, call: Call, body: GrantBody) -> GrantReply:
        """Let a system admin look into a network of one's own, or at one of its nodes, for a while."""
        wanted = NewGrant(
            admin_user_id=body.admin_user_id,
            resource_type=body.resource_type,
            resource_id=body.resource_id,
            hours=body.duration_hours,
            reason=body.reason,
        )
        return grant_reply(await self._grants.make(actor_of(call), wanted))

    @routes.get("", reply=list[GrantReply], who=user, query=GrantsQuery)
    async def list_grants(self, call: Call, query: GrantsQuery) -> list[GrantReply]:
        """Those one has given or been given."""
        return [grant_reply(each) for each in await self._grants.of(actor_of(call), active_only=query.active_only)]

    @routes.delete(f"/<{ID}:grant_id>", who=user, audit="mesh.grant.revoke", status=204, statuses=(403,))
    async def revoke_grant(self, call: Call, grant_id: str) -> None:
        """Take back what one has given."""
        await self._grants.revoke(actor_of(call), int(grant_id))


class InvitationEndpoints:
    """invitations."""

    routes = Routes(prefix="/invitations", tag="Invitations")

    def __init__(self, invitations: Invitations, outbox: Outbox, limits: Limits) -> None:
        self._invitations = invitations
        self._outbox = outbox
        self._limits = limits

    @routes.post(
        "",
        reply=InvitationReply,
        who=user,
        body=JsonBody(InvitationBody),
        audit="mesh.invitation.create",
        statuses=(403, 404),
    )
    async def invite(self, call: Call, body: InvitationBody) -> InvitationReply:
        """Invite somebody into a network; the mail goes out in the background, `email_status` tells of it."""
        call.audit_object = body.email
        wanted = NewInvitation(
            email=body.email,
            network_id=body.network_id,
            capabilities=capabilities(body),
            days=body.expires_in_days,
        )
        made = await self._invitations.make(actor_of(call), wanted, self._outbox.first_status)
        token = self._invitations.token(made)
        self._outbox.send(call, made, token)
        return invitation_reply(made, token)

    @routes.get("", reply=list[InvitationReply], who=user, query=InvitationsQuery)
    async def list_invitations(self, call: Call, query: InvitationsQuery) -> list[InvitationReply]:
        """The invitations into networks that one may invite to; all of them for a system admin."""
        status = query.status_filter or query.status
        found = await self._invitations.of(actor_of(call), query.network_id, status)
        return [invitation_reply(each, self._invitations.token(each)) for each in found]

    async def _limit_public(self, call: Call) -> None:
        self._limits.public_invitation.of_address(call)

    @routes.get(
        "/public/<token>",
        reply=PublicInvitation,
        who=anyone,
        statuses=(410,),
        guard=_limit_public,
        secret_parameters=("token",),
    )
    async def public_invitation(self, call: Call, token: str) -> PublicInvitation:
        """What an invitation is about, for who has its link."""
        return public_invitation(await self._invitations.shown_to_all(token))

    @routes.post(
        "/<token>/accept",
        reply=Message,
        who=user,
        audit="mesh.invitation.accept",
        statuses=(410,),
        secret_parameters=("token",),
    )
    async def accept_invitation(self, call: Call, token: str) -> Message:
        """Join the network that one was invited to."""
        found = await self._invitations.accept(actor_of(call), token)
        return Message(f"You have joined {found.network_name}")

    @routes.post(
        f"/<{ID}:invitation_id>/resend",
        reply=InvitationReply,
        who=user,
        audit="mesh.invitation.resend",
        statuses=(403,),
    )
    async def resend_invitation(self, call: Call, invitation_id: str) -> InvitationReply:
        """Send the mail of a pending invitation once more."""
        found = await self._invitations.resend(actor_of(call), int(invitation_id), self._outbox.first_status)
        token = self._invitations.token(found)
        self._outbox.send(call, found, token)
        return invitation_reply(found, token)

    @routes.delete(f"/<{ID}:invitation_id>", who=user, audit="mesh.invitation.revoke", status=204, statuses=(403,))
    async def revoke_invitation(self, call: Call, invitation_id: str) -> None:
        """Take an invitation back."""
        await self._invitations.revoke(actor_of(call), int(invitation_id))
