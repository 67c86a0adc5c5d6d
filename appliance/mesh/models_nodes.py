"""What the endpoints of nodes, certificates and devices take and give."""

from typing import Annotated, TypeVar

import msgspec

from appliance.mesh.models import (
    AddressText,
    Days,
    EndpointText,
    Hostname,
    Id,
    OptionalGroup,
    Short,
    check_endpoint,
)
from appliance.mesh.moments import SECOND, shown, shown_or_none
from appliance.mesh.node_making import NewNode
from appliance.mesh.node_options import LighthouseOptions, LoggingOptions, NodeOptions, PunchyOptions
from appliance.mesh.node_rows import ACTIVE, Node
from appliance.mesh.nodes import NodeChange

Options = TypeVar("Options", LighthouseOptions, LoggingOptions, PunchyOptions)

OFFLINE_AFTER = 300 * SECOND
"""How long after its last sign of life an active node is shown as offline."""


class NodesQuery(msgspec.Struct):
    """Of which network; without it of all the caller's."""

    network_id: Id | None = None


class NodeChangeBody(msgspec.Struct, kw_only=True):
    """What is to change: an empty text clears, what is missing or null stays."""

    group: OptionalGroup | None = None
    is_lighthouse: bool | None = None
    is_relay: bool | None = None
    public_endpoint: EndpointText | None = None
    lighthouse_options: LighthouseOptions | None = None
    logging_options: LoggingOptions | None = None
    punchy_options: PunchyOptions | None = None

    def change(self) -> NodeChange:
        """For the domain. Raises `Invalid`."""
        return NodeChange(
            group=self.group,
            is_lighthouse=self.is_lighthouse,
            is_relay=self.is_relay,
            public_endpoint=check_endpoint(self.public_endpoint),
            options=NodeOptions(
                lighthouse=self.lighthouse_options, logging=self.logging_options, punchy=self.punchy_options
            ),
        )


class CreateBody(msgspec.Struct, kw_only=True):
    """A node to be made, with keys that are made here."""

    network_id: Id
    name: Hostname
    group: OptionalGroup | None = None
    suggested_ip: AddressText | None = None
    duration_days: Days | None = None
    is_lighthouse: bool | None = None
    is_relay: bool | None = None
    public_endpoint: EndpointText | None = None
    lighthouse_options: LighthouseOptions | None = None
    punchy_options: PunchyOptions | None = None

    def wanted(self) -> NewNode:
        """For the domain. Raises `Invalid`."""
        return NewNode(
            name=self.name,
            group=self.group or None,
            suggested_ip=self.suggested_ip or None,
            duration_days=self.duration_days,
            is_lighthouse=self.is_lighthouse,
            is_relay=bool(self.is_relay),
            public_endpoint=check_endpoint(self.public_endpoint),
            options=NodeOptions(lighthouse=self.lighthouse_options, punchy=self.punchy_options),
        )


class SignBody(msgspec.Struct, kw_only=True):
    """A host that keeps its own key; `public_key` is PEM, as `nebula-cert keygen` writes it."""

    network_id: Id
    name: Hostname
    public_key: Annotated[str, msgspec.Meta(max_length=4096)]
    group: OptionalGroup | None = None
    suggested_ip: AddressText | None = None
    duration_days: Days | None = None

    def wanted(self) -> NewNode:
        """For the domain."""
        return NewNode(
            name=self.name,
            group=self.group or None,
            suggested_ip=self.suggested_ip or None,
            duration_days=self.duration_days,
        )


class CreatedCertificate(msgspec.Struct):
    """What a host needs; the private key is shown here and in its configuration."""

    node_id: int
    hostname: str
    ip_address: str
    certificate: str
    private_key: str
    ca_certificate: str


class SignedCertificate(msgspec.Struct):
    """What a host needs besides its key."""

    ip_address: str
    certificate: str
    ca_certificate: str


class ListedCertificate(msgspec.Struct):
    """A certificate that was issued."""

    id: int
    node_id: int
    node_name: str
    network_id: int
    network_name: str
    ip_address: str
    issued_at: str
    expires_at: str
    revoked_at: str | None


class NodeReply(msgspec.Struct):
    """A node. `status` is pending, active, offline or revoked."""

    id: int
    network_id: int
    hostname: str
    ip_address: str | None
    cert_fingerprint: str | None
    groups: list[str]
    is_lighthouse: bool
    is_relay: bool
    public_endpoint: str | None
    lighthouse_options: LighthouseOptions | None
    logging_options: LoggingOptions | None
    punchy_options: PunchyOptions | None
    status: str
    last_seen: str | None
    first_polled_at: str | None
    created_at: str


class Ok(msgspec.Struct):
    """It is done."""

    ok: bool = True


class OkNode(msgspec.Struct):
    """It is done, to that node."""

    node_id: int
    ok: bool = True


class HeartbeatReply(msgspec.Struct):
    """The sign of life was noted."""

    last_seen: str
    ok: bool = True


class CodeBody(msgspec.Struct, kw_only=True):
    """For which node, and how long it is good."""

    node_id: Id
    expires_in_hours: Annotated[int, msgspec.Meta(ge=1, le=8760)] = 24


class CodeReply(msgspec.Struct):
    """A code, shown once."""

    code: str
    expires_at: str
    node_id: int
    hostname: str


class EnrollBody(msgspec.Struct, kw_only=True):
    """The code as it was typed."""

    code: Short = ""


class DeviceInfo(msgspec.Struct):
    """Which node of which network it is."""

    network_name: str
    hostname: str


class LighthousePeer(msgspec.Struct):
    """Another lighthouse."""

    node_id: int
    ip_address: str


class LighthousePeers(msgspec.Struct):
    """The network's lighthouses."""

    peers: list[LighthousePeer]


class RouteList(msgspec.Struct):
    """What is reached through the mesh."""

    routes: list[str]


def node_reply(node: Node, moment: int) -> NodeReply:
    """A node as clients read it at that moment."""
    row = node.row
    status = row.status
    if status == ACTIVE and (row.last_seen is None or row.last_seen < moment - OFFLINE_AFTER):
        status = "offline"
    return NodeReply(
        id=row.id,
        network_id=row.network_id,
        hostname=row.hostname,
        ip_address=row.ip_address,
        cert_fingerprint=node.fingerprint,
        groups=[] if row.group_name is None else [row.group_name],
        is_lighthouse=row.is_lighthouse,
        is_relay=row.is_relay,
        public_endpoint=row.public_endpoint,
        lighthouse_options=_decoded(row.lighthouse_options, LighthouseOptions),
        logging_options=_decoded(row.logging_options, LoggingOptions),
        punchy_options=_decoded(row.punchy_options, PunchyOptions),
        status=status,
        last_seen=shown_or_none(row.last_seen),
        first_polled_at=shown_or_none(row.first_polled_at),
        created_at=shown(row.created_at),
    )


def _decoded(text: str | None, type: type[Options]) -> Options | None:
    return None if text is None else msgspec.json.decode(text, type=type)
