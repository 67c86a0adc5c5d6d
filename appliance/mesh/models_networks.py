"""What the networks' endpoints take and give."""

from typing import Annotated, Literal

import msgspec

from appliance.mesh.firewall_rules import InboundRule
from appliance.mesh.models import AddressText, NetworkName, Short, Subnet
from appliance.mesh.moments import shown
from appliance.mesh.networks import Network


class NetworkBody(msgspec.Struct, kw_only=True):
    """A network to be made. Certificates of version 2 are needed for IPv6, and for them Nebula 1.10."""

    name: NetworkName
    subnet_cidr: Subnet
    allow_overlap: bool = False
    certificate_version: Literal[1, 2] = 1


class NetworkChangeBody(msgspec.Struct, kw_only=True):
    """What is to change; what is missing or null stays."""

    name: NetworkName | None = None
    auto_approve_nodes: bool | None = None


class DeleteBody(msgspec.Struct, kw_only=True):
    """`confirmation` is the network's name, `reauth_token` the one that another log-in gave."""

    reauth_token: Annotated[str, msgspec.Meta(max_length=8192)] = ""
    confirmation: Short = ""


class FirewallBody(msgspec.Struct):
    """The rules of a group; none close it against everybody."""

    inbound_rules: Annotated[list[InboundRule], msgspec.Meta(max_length=1000)]


class CheckAddressQuery(msgspec.Struct):
    """The address that is asked about."""

    ip: AddressText


class Availability(msgspec.Struct):
    """Whether a host could have the address."""

    available: bool


class NetworkReply(msgspec.Struct):
    """A network. `ca_cert_path` is where its CA's certificate can be had, null where the caller may not."""

    id: int
    name: str
    subnet_cidr: str
    ca_cert_path: str | None
    created_at: str


class ListedNetwork(NetworkReply):
    """A network and what the caller may do in it."""

    role: str
    can_manage_nodes: bool
    can_invite_users: bool
    can_manage_firewall: bool


def network_reply(network: Network) -> NetworkReply:
    """A network as clients read it."""
    return NetworkReply(*_common(network))


def listed_network(network: Network) -> ListedNetwork:
    """A network as clients read it in the list."""
    his = network.rights
    return ListedNetwork(
        *_common(network),
        role=his.role or "admin",
        can_manage_nodes=his.can_manage_nodes,
        can_invite_users=his.can_invite_users,
        can_manage_firewall=his.can_manage_firewall,
    )


def _common(network: Network) -> tuple[int, str, str, str | None, str]:
    row = network.row
    path = f"networks/{row.id}/ca.crt" if network.authority_shown else None
    return row.id, row.name, row.subnet, path, shown(row.created_at)
