"""network/…: interfaces, addresses, bridges, VLANs."""

from typing import cast

import msgspec

from appliance.host.network.address_changes import NewAddress, RemovedAddress, ReplacedAddress
from appliance.host.network.assembly import BOND, BRIDGE, ETHERNET, VLAN
from appliance.host.network.bridge_changes import NewBridge, NewVlan, Removal
from appliance.host.network.carriers import Origin
from appliance.host.network.change import Change
from appliance.host.network.link_changes import Down, Up
from appliance.host.network.model import Interface
from appliance.host.network.network import Network, Terms
from appliance.host.network.wanted import Wanted, parse_wanted
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.identity.caller import Caller, administrator, reader
from appliance.system.models_network import (
    PERSISTENCE_WARNING,
    AddressBody,
    BondList,
    BridgeBody,
    BridgeList,
    ChangeQuery,
    InterfaceList,
    InterfaceQuery,
    NetworkMessage,
    RemovalQuery,
    TypeList,
    VlanBody,
    VlanList,
)

_DEVICE = "device"
_STATUSES = (404, 409, 503)
_CACHED = 16  # replies, one for each filter that is asked for


class NetworkEndpoints:
    """Every change lives in the kernel, is made whole or not at all, and undoes itself with `rollback`."""

    routes = Routes(prefix="/network", tag="Network")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._shown: list[Interface] | None = None
        self._encoded: dict[str, msgspec.Raw] = {}

    @routes.get("/interfaces", reply=InterfaceList, who=reader, query=InterfaceQuery, statuses=(503,))
    async def list_interfaces(self, call: Call, query: InterfaceQuery) -> msgspec.Raw:
        """Every interface, or those of some types.

        Statistics are at most a second old, all else is as it is now.
        """
        interfaces = await self._network.interfaces.snapshot()
        if interfaces is not self._shown:
            self._shown, self._encoded = interfaces, {}
        encoded = self._encoded.get(query.type)
        if encoded is None:
            encoded = msgspec.Raw(msgspec.json.encode(InterfaceList(_of_types(interfaces, query.type))))
            if len(self._encoded) < _CACHED:
                self._encoded[query.type] = encoded
        return encoded

    @routes.put(
        "/interfaces/<name>/up",
        reply=NetworkMessage,
        who=administrator,
        query=ChangeQuery,
        audit="network.up",
        statuses=_STATUSES,
    )
    async def bring_up(self, call: Call, query: ChangeQuery, name: str) -> NetworkMessage:
        """Bring an interface up."""
        return await self._make(Up(name), call, query, name)

    @routes.put(
        "/interfaces/<name>/down",
        reply=NetworkMessage,
        who=administrator,
        query=ChangeQuery,
        audit="network.down",
        statuses=_STATUSES,
    )
    async def bring_down(self, call: Call, query: ChangeQuery, name: str) -> NetworkMessage:
        """Bring an interface down.

        Refused with 409 without `force=true` for the interface that this request comes by, and for what lies below it:
        the ports of a bridge or bond, what a VLAN lies on.
        """
        return await self._make(Down(name), call, query, name)

    @routes.post(
        "/interfaces/<name>/address",
        reply=NetworkMessage,
        who=administrator,
        body=JsonBody(AddressBody),
        query=ChangeQuery,
        audit="network.address.add",
        statuses=_STATUSES,
    )
    async def add_address(self, call: Call, body: AddressBody, query: ChangeQuery, name: str) -> NetworkMessage:
        """Give an interface one more address.

        With `gateway` the default route leads there; 409 where there is one by another way. With a gateway that cannot
        be reached the address is not set either.
        """
        return await self._make(NewAddress(name, _wanted(call, body)), call, query, name)

    @routes.put(
        "/interfaces/<name>/address",
        reply=NetworkMessage,
        who=administrator,
        body=JsonBody(AddressBody),
        query=ChangeQuery,
        audit="network.address.replace",
        statuses=_STATUSES,
    )
    async def replace_address(self, call: Call, body: AddressBody, query: ChangeQuery, name: str) -> NetworkMessage:
        """Give an interface an address in the place of all it has of that family.

        IPv6 addresses that the kernel made or a router advertised stay. `gateway` replaces the default route. To take
        away the address that this request came in at needs `force=true`, else 409.
        """
        return await self._make(ReplacedAddress(name, _wanted(call, body)), call, query, name)

    @routes.delete(
        "/interfaces/<name>/address",
        reply=NetworkMessage,
        who=administrator,
        query=RemovalQuery,
        audit="network.address.remove",
        statuses=_STATUSES,
    )
    async def remove_address(self, call: Call, query: RemovalQuery, name: str) -> NetworkMessage:
        """Take an address from an interface; the one that this request came in at only with `force=true`, else 409."""
        call.audit_details["address"] = query.address
        return await self._make(RemovedAddress(name, query.address), call, query, name)

    @routes.get("/interface-types", reply=TypeList, who=reader, statuses=(503,))
    async def list_interface_types(self, call: Call) -> TypeList:
        """The types of the interfaces there are, each once."""
        return TypeList(sorted({each.type for each in await self._network.interfaces.snapshot()}))

    @routes.get("/bridges", reply=BridgeList, who=reader, statuses=(503,))
    async def list_bridges(self, call: Call) -> BridgeList:
        """Bridges, with their ports as `interfaces`."""
        return BridgeList(_of_types(await self._network.interfaces.snapshot(), BRIDGE))

    @routes.get("/bonds", reply=BondList, who=reader, statuses=(503,))
    async def list_bonds(self, call: Call) -> BondList:
        """Bonds, with their ports as `interfaces`."""
        return BondList(_of_types(await self._network.interfaces.snapshot(), BOND))

    @routes.get("/vlans", reply=VlanList, who=reader, statuses=(503,))
    async def list_vlans(self, call: Call) -> VlanList:
        """VLANs, with `vlan_id` and the `interface` they lie on."""
        return VlanList(_of_types(await self._network.interfaces.snapshot(), VLAN))

    @routes.post(
        "/bridge",
        reply=NetworkMessage,
        who=administrator,
        body=JsonBody(BridgeBody),
        query=ChangeQuery,
        audit="network.bridge.create",
        statuses=_STATUSES,
    )
    async def create_bridge(self, call: Call, body: BridgeBody, query: ChangeQuery) -> NetworkMessage:
        """Make a bridge and bring it up; its ports are left up or down as they are.

        An interface that is a port has no use of its own addresses, so the one that this request comes by needs
        `force=true`, else 409.
        """
        ports = body.interfaces or []
        call.audit_details["interfaces"] = ports
        return await self._make(NewBridge(body.name, ports), call, query, body.name)

    @routes.delete(
        "/bridge/<name>",
        reply=NetworkMessage,
        who=administrator,
        query=ChangeQuery,
        audit="network.bridge.delete",
        statuses=_STATUSES,
    )
    async def delete_bridge(self, call: Call, query: ChangeQuery, name: str) -> NetworkMessage:
        """Remove a bridge; its ports stay.

        409 while another interface lies on it, and without `force=true` where this request comes by it.
        """
        return await self._make(Removal(name, BRIDGE), call, query, name)

    @routes.post(
        "/vlan",
        reply=NetworkMessage,
        who=administrator,
        body=JsonBody(VlanBody),
        query=ChangeQuery,
        audit="network.vlan.create",
        statuses=_STATUSES,
    )
    async def create_vlan(self, call: Call, body: VlanBody, query: ChangeQuery) -> NetworkMessage:
        """Make a VLAN, and bring it up where the interface that it lies on is up."""
        call.audit_details |= {"interface": body.interface, "vlan_id": body.vlan_id}
        change = NewVlan(body.interface, body.vlan_id, body.name or "")
        return await self._make(change, call, query, body.name or f"{body.interface}.{body.vlan_id}")

    @routes.delete(
        "/vlan/<name>",
        reply=NetworkMessage,
        who=administrator,
        query=ChangeQuery,
        audit="network.vlan.delete",
        statuses=_STATUSES,
    )
    async def delete_vlan(self, call: Call, query: ChangeQuery, name: str) -> NetworkMessage:
        """Remove a VLAN.

        409 while another interface lies on it, and without `force=true` where this request comes by it.
        """
        return await self._make(Removal(name, VLAN), call, query, name)

    @routes.post(
        "/confirm",
        reply=NetworkMessage,
        who=administrator,
        audit="network.confirm",
        statuses=(409, 503),
        name="confirm_change",
    )
    async def confirm(self, call: Call) -> NetworkMessage:
        """Let a change stay that was made with `rollback`; 409 where none waits, or it is undone already."""
        what = await self._network.confirm()
        call.audit_object = what
        return NetworkMessage(f"Confirmed: {what}")

    async def _make(self, change: Change, call: Call, query: ChangeQuery, name: str) -> NetworkMessage:
        caller = cast(Caller, call.caller)  # there is one: nothing here is public
        call.audit_object = name
        if query.force:
            call.audit_details["force"] = True
        if query.rollback is not None:
            call.audit_details["rollback"] = query.rollback
        origin = Origin(ours=call.local_address(), client=call.address)
        done = await self._network.make(change, Terms(origin, caller.name, query.force, query.rollback))
        return NetworkMessage(done.message, PERSISTENCE_WARNING, done.rollback or msgspec.UNSET)


def _of_types(interfaces: list[Interface], types: str) -> list[Interface]:
    wanted = {ETHERNET if word.strip() == _DEVICE else word.strip() for word in types.split(",") if word.strip()}
    return [each for each in interfaces if each.type in wanted] if wanted else interfaces


def _wanted(call: Call, body: AddressBody) -> Wanted:
    call.audit_details |= {"address": body.address, "netmask": body.netmask, "gateway": body.gateway}
    return parse_wanted(body.address, body.netmask, body.gateway or "")
