"""What is asked of the network endpoints, and the wrappers of their replies."""

from typing import Annotated

import msgspec

from appliance.host.network.model import Interface
from appliance.host.network.names import NEW
from appliance.host.network.rollback import PendingRollback

PERSISTENCE_WARNING = "This lives in the running kernel only: a reboot, or the system's own network service, ends it."
ROLLBACK_LIMIT = 3600


def _text(description: str, limit: int, least: int = 1) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=limit, min_length=least)


_Rollback = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=ROLLBACK_LIMIT,
        description="Seconds after which the change is undone by itself, unless POST network/confirm comes before.",
    ),
]
_Force = Annotated[bool, msgspec.Meta(description="Do it although this very request may come by that way.")]
_Address = Annotated[str, _text("An IPv4 or IPv6 address.", 45)]
_Length = Annotated[int, msgspec.Meta(ge=1, le=128, description="Length of the network's prefix in bits.")]
_Mask = Annotated[str, _text("The same, or for IPv4 a mask as 255.255.255.0.", 15)]
_Existing = Annotated[str, _text("Name of an interface.", 15)]
_New = Annotated[str, msgspec.Meta(pattern=NEW, description="Name of the new interface.")]


class InterfaceQuery(msgspec.Struct):
    """Which interfaces are wanted."""

    type: Annotated[
        str, _text("Types, comma-separated; `device` is another word for `ethernet`. All where it is empty.", 256, 0)
    ] = ""


class ChangeQuery(msgspec.Struct, kw_only=True):
    """On what terms a change is made."""

    force: _Force = False
    rollback: _Rollback | None = None


class RemovalQuery(ChangeQuery, kw_only=True):
    """Which address is to go."""

    address: Annotated[str, _text("The address, with or without `/` and the length of its prefix.", 49)]


class AddressBody(msgspec.Struct):
    """An address, and where it is given the gateway of the default route."""

    address: _Address
    netmask: _Length | _Mask
    gateway: Annotated[str, _text("Empty for none.", 45, 0)] | None = None


class BridgeBody(msgspec.Struct):
    """A bridge and its ports."""

    name: _New
    interfaces: Annotated[list[_Existing], msgspec.Meta(max_length=256)] | None = None


class VlanBody(msgspec.Struct):
    """A VLAN (802.1Q) on an interface; its name is `INTERFACE.ID` unless given."""

    interface: _Existing
    vlan_id: Annotated[int, msgspec.Meta(ge=1, le=4094)]
    name: _New | None = None


class InterfaceList(msgspec.Struct):
    """Interfaces."""

    interfaces: list[Interface]


class BridgeList(msgspec.Struct):
    """All bridges."""

    bridges: list[Interface]


class BondList(msgspec.Struct):
    """All bonds."""

    bonds: list[Interface]


class VlanList(msgspec.Struct):
    """All VLANs."""

    vlans: list[Interface]


class TypeList(msgspec.Struct):
    """The types of the interfaces there are."""

    types: list[str]


class NetworkMessage(msgspec.Struct, omit_defaults=True):
    """What was done; `rollback` where it waits for its confirmation."""

    message: str
    persistence_warning: str | msgspec.UnsetType = msgspec.UNSET
    rollback: PendingRollback | msgspec.UnsetType = msgspec.UNSET
