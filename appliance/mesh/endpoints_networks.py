"""networks…: made, seen, changed and removed; the rules of their groups."""

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.mesh.callers import actor_of, user
from appliance.mesh.group_firewalls import GroupFirewall, GroupFirewalls
from appliance.mesh.models import ID
from appliance.mesh.models_groups import group_in_path
from appliance.mesh.models_networks import (
    Availability,
    CheckAddressQuery,
    DeleteBody,
    FirewallBody,
    ListedNetwork,
    NetworkBody,
    NetworkChangeBody,
    NetworkReply,
    listed_network,
    network_reply,
)
from appliance.mesh.networks import NetworkChange, Networks, NewNetwork
from appliance.mesh.reauthentication import Reauthentication

_FIREWALL_LIMIT = 512 * 1024


class NetworkEndpoints:
    """Networks and their groups' firewalls."""

    routes = Routes(prefix="/networks", tag="Networks")

    def __init__(self, networks: Networks, group_firewalls: GroupFirewalls, reauthentication: Reauthentication) -> None:
        self._networks = networks
        self._group_firewalls = group_firewalls
        self._reauthentication = reauthentication

    @routes.get("", reply=list[ListedNetwork], who=user)
    async def list_networks(self, call: Call) -> list[ListedNetwork]:
        """The networks that the caller is in; all of them for a system admin, whose role in others' is `admin`."""
        return [listed_network(each) for each in await self._networks.visible(actor_of(call))]

    @routes.post(
        "", reply=NetworkReply, who=user, body=JsonBody(NetworkBody), audit="mesh.network.create", statuses=(409,)
    )
    async def create_network(self, call: Call, body: NetworkBody) -> NetworkReply:
        """Make a network with a CA of its own; the caller owns it."""
        call.audit_object = body.name
        wanted = NewNetwork(
            name=body.name,
            subnet=body.subnet_cidr,
            allow_overlap=body.allow_overlap,
            certificate_version=body.certificate_version,
        )
        return network_reply(await self._networks.create(actor_of(call), wanted))

    @routes.get(f"/<{ID}:network_id>", reply=NetworkReply, who=user)
    async def get_network(self, call: Call, network_id: str) -> NetworkReply:
        """One network."""
        return network_reply(await self._networks.get(actor_of(call), int(network_id)))

    @routes.patch(
        f"/<{ID}:network_id>",
        reply=NetworkReply,
        who=user,
        body=JsonBody(NetworkChangeBody),
        audit="mesh.network.update",
        statuses=(403, 409),
    )
    async def update_network(self, call: Call, body: NetworkChangeBody, network_id: str) -> NetworkReply:
        """Rename a network, or let its members' requests for nodes be approved by themselves. For its owners."""
        change = NetworkChange(name=body.name, auto_approve_nodes=body.auto_approve_nodes)
        return network_reply(await self._networks.change(actor_of(call), int(network_id), change))

    @routes.delete(
        f"/<{ID}:network_id>",
        who=user,
        body=JsonBody(DeleteBody),
        audit="mesh.network.delete",
        status=204,
        statuses=(403,),
    )
    async def delete_network(self, call: Call, body: DeleteBody, network_id: str) -> None:
        """Remove a network and all there is of it. For its owners and system admins, who log in once more for it."""
        actor = actor_of(call)
        opened = self._reauthentication.opened_by(actor, body.reauth_token)
        await self._networks.delete(actor, int(network_id), body.confirmation, opened)

    @routes.get(f"/<{ID}:network_id>/check-ip", reply=Availability, who=user, query=CheckAddressQuery, statuses=(403,))
    async def check_ip(self, call: Call, query: CheckAddressQuery, network_id: str) -> Availability:
        """Whether a node could have an address; 400 for one that no node of the network can have."""
        return Availability(await self._networks.is_address_free(actor_of(call), int(network_id), query.ip))

    @routes.get(f"/<{ID}:network_id>/group-firewall", reply=list[GroupFirewall], who=user, statuses=(403,))
    async def list_group_firewalls(self, call: Call, network_id: str) -> list[GroupFirewall]:
        """The groups that have rules. The nodes of all other groups let everything in."""
        return await self._group_firewalls.of(actor_of(call), int(network_id))

    @routes.put(
        f"/<{ID}:network_id>/group-firewall/<group>",
        reply=GroupFirewall,
        who=user,
        body=JsonBody(FirewallBody, limit=_FIREWALL_LIMIT),
        audit="mesh.firewall.update",
        statuses=(403,),
    )
    async def set_group_firewall(self, call: Call, body: FirewallBody, network_id: str, group: str) -> GroupFirewall:
        """Give the nodes of a group their rules: nothing else comes in."""
        group_in_path(group)
        return await self._group_firewalls.set(actor_of(call), int(network_id), group, body.inbound_rules)

    @routes.delete(
        f"/<{ID}:network_id>/group-firewall/<group>",
        who=user,
        audit="mesh.firewall.delete",
        status=204,
        statuses=(403,),
    )
    async def delete_group_firewall(self, call: Call, network_id: str, group: str) -> None:
        """Take a group's rules away: its nodes let everything in again."""
        await self._group_firewalls.remove(actor_of(call), int(network_id), group)
