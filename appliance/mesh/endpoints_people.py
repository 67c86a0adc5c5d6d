"""Members of networks, users, and the audit."""

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.mesh.administration import Administration
from appliance.mesh.callers import actor_of, system_admin, user
from appliance.mesh.members import Members
from appliance.mesh.models import ID
from appliance.mesh.models_people import (
    AuditQuery,
    AuditReply,
    MemberBody,
    MemberChangeBody,
    MemberReply,
    RoleBody,
    UserDetail,
    UserReply,
    audit_reply,
    capabilities,
    member_reply,
    user_detail,
    user_reply,
)

_CHANGE = (400, 403)


class MemberEndpoints:
    """networks/{id}/users."""

    routes = Routes(prefix=f"/networks/<{ID}:network_id>/users", tag="Members")

    def __init__(self, members: Members) -> None:
        self._members = members

    @routes.get("", reply=list[MemberReply], who=user, statuses=(403,))
    async def list_members(self, call: Call, network_id: str) -> list[MemberReply]:
        """Everybody in a network; for its owners and system admins."""
        return [member_reply(each) for each in await self._members.of(actor_of(call), int(network_id))]

    @routes.post("", reply=MemberReply, who=user, body=JsonBody(MemberBody), audit="mesh.member.add", statuses=_CHANGE)
    async def add_member(self, call: Call, body: MemberBody, network_id: str) -> MemberReply:
        """Bring a user in. For who may invite; only owners make owners."""
        made = await self._members.add(actor_of(call), int(network_id), body.user_id, capabilities(body))
        return member_reply(made)

    @routes.patch(
        f"/<{ID}:user_id>",
        reply=MemberReply,
        who=user,
        body=JsonBody(MemberChangeBody),
        audit="mesh.member.update",
        statuses=_CHANGE,
    )
    async def update_member(self, call: Call, body: MemberChangeBody, network_id: str, user_id: str) -> MemberReply:
        """Change what a member may do. A network keeps an owner."""
        changed = await self._members.change(actor_of(call), int(network_id), int(user_id), body.change())
        return member_reply(changed)

    @routes.delete(f"/<{ID}:user_id>", who=user, audit="mesh.member.remove", status=204, statuses=_CHANGE)
    async def remove_member(self, call: Call, network_id: str, user_id: str) -> None:
        """Take a member out. A network keeps an owner."""
        await self._members.remove(actor_of(call), int(network_id), int(user_id))


class UserEndpoints:
    """users, and GET audit; for system admins."""

    routes = Routes(tag="Users")

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    @routes.get("/users", reply=list[UserReply], who=system_admin, statuses=(403,), name="list_mesh_users")
    async def list_users(self, call: Call) -> list[UserReply]:
        """Everybody who has ever logged in."""
        return [user_reply(each) for each in await self._administration.users()]

    @routes.get(f"/users/<{ID}:user_id>", reply=UserDetail, who=system_admin, statuses=(403,), name="get_mesh_user")
    async def get_user(self, call: Call, user_id: str) -> UserDetail:
        """A user and his networks."""
        return user_detail(*await self._administration.user(int(user_id)))

    @routes.patch(
        f"/users/<{ID}:user_id>",
        reply=UserReply,
        who=system_admin,
        body=JsonBody(RoleBody),
        audit="mesh.user.update",
        statuses=(403, 409),
        name="update_mesh_user",
    )
    async def update_user(self, call: Call, body: RoleBody, user_id: str) -> UserReply:
        """Make a user a system admin, or no longer; it counts from his next request on."""
        if body.system_role is None:
            found, _ = await self._administration.user(int(user_id))
            return user_reply(found)
        return user_reply(await self._administration.set_role(actor_of(call), int(user_id), body.system_role))

    @routes.delete(
        f"/users/<{ID}:user_id>",
        who=system_admin,
        audit="mesh.user.delete",
        status=204,
        statuses=(403, 409),
        name="delete_mesh_user",
    )
    async def delete_user(self, call: Call, user_id: str) -> None:
        """Remove a user from everywhere."""
        await self._administration.delete(actor_of(call), int(user_id))

    @routes.get("/audit", reply=list[AuditReply], who=system_admin, query=AuditQuery, statuses=(403,))
    async def audit(self, call: Call, query: AuditQuery) -> list[AuditReply]:
        """What was done in the mesh, the newest first."""
        return [audit_reply(row) for row in await self._administration.audit(query.wanted())]
