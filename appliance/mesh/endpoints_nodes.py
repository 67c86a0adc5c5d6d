"""nodes… and certificates…: hosts of a network and what proves them."""

from twisted.internet.interfaces import IReactorTime

from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.http.errors import forbidden
from appliance.http.replies import Reply
from appliance.mesh.access import NODE_MISSING
from appliance.mesh.callers import MeshCaller, actor_of, user, user_or_device
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.keys import read_public_key
from appliance.mesh.device.downloads import Download, Downloads
from appliance.mesh.device.heartbeats import Heartbeats
from appliance.mesh.envelope import NO_STORE
from appliance.mesh.errors import Invalid, Missing
from appliance.mesh.issued import IssuedCertificates
from appliance.mesh.models import ID
from appliance.mesh.models_nodes import (
    CreateBody,
    CreatedCertificate,
    HeartbeatReply,
    ListedCertificate,
    NodeChangeBody,
    NodeReply,
    NodesQuery,
    Ok,
    OkNode,
    SignBody,
    SignedCertificate,
    node_reply,
)
from appliance.mesh.moments import now, shown, shown_or_none
from appliance.mesh.nodes import Nodes


class NodeEndpoints:
    """Nodes."""

    routes = Routes(prefix="/nodes", tag="Nodes")

    def __init__(self, clock: IReactorTime, nodes: Nodes, downloads: Downloads, heartbeats: Heartbeats) -> None:
        self._clock = clock
        self._nodes = nodes
        self._downloads = downloads
        self._heartbeats = heartbeats

    @routes.get("", reply=list[NodeReply], who=user, query=NodesQuery, statuses=(403, 404))
    async def list_nodes(self, call: Call, query: NodesQuery) -> list[NodeReply]:
        """The nodes of a network, or of all the caller is in. System admins see what an owner has granted."""
        moment = now(self._clock)
        found = await self._nodes.visible(actor_of(call), query.network_id)
        return [node_reply(node, moment) for node in found]

    @routes.get(f"/<{ID}:node_id>", reply=NodeReply, who=user)
    async def get_node(self, call: Call, node_id: str) -> NodeReply:
        """One node."""
        return node_reply(await self._nodes.get(actor_of(call), int(node_id)), now(self._clock))

    @routes.patch(
        f"/<{ID}:node_id>",
        reply=Ok,
        who=user,
        body=JsonBody(NodeChangeBody),
        audit="mesh.node.update",
        statuses=(403, 409),
    )
    async def update_node(self, call: Call, body: NodeChangeBody, node_id: str) -> Ok:
        """Change a node. Another group means another certificate, which its device fetches by itself."""
        await self._nodes.change(actor_of(call), int(node_id), body.change())
        return Ok()

    @routes.delete(f"/<{ID}:node_id>", who=user, audit="mesh.node.delete", status=204, statuses=(403, 409))
    async def delete_node(self, call: Call, node_id: str) -> None:
        """Remove a node; the others do not accept its certificates any more."""
        await self._nodes.delete(actor_of(call), int(node_id))

    @routes.get(f"/<{ID}:node_id>/config", reply=bytes, who=user, statuses=(403,), produces="application/yaml")
    async def node_config(self, call: Call, node_id: str) -> Reply:
        """The node's configuration for Nebula, with its private key where that was made here."""
        made = await self._downloads.configuration(actor_of(call), int(node_id))
        return attachment(made, "application/yaml", f"{made.hostname}.yaml")

    @routes.get(f"/<{ID}:node_id>/certs", reply=bytes, who=user, statuses=(403,), produces="application/zip")
    async def node_certs(self, call: Call, node_id: str) -> Reply:
        """The node's certificates as ZIP, with its private key where that was made here."""
        made = await self._downloads.certificates(actor_of(call), int(node_id))
        return attachment(made, "application/zip", f"node-{made.hostname}-certs.zip")

    @routes.post(f"/<{ID}:node_id>/revoke-certificate", reply=Ok, who=user, audit="mesh.node.revoke", statuses=(403,))
    async def revoke_certificate(self, call: Call, node_id: str) -> Ok:
        """Cut a node off: certificate, key, address and device token are taken away, the node itself stays."""
        await self._nodes.revoke(actor_of(call), int(node_id))
        return Ok()

    @routes.post(f"/<{ID}:node_id>/re-enroll", reply=OkNode, who=user, audit="mesh.node.re-enroll", statuses=(403, 409))
    async def re_enroll(self, call: Call, node_id: str) -> OkNode:
        """Give a node new keys and a new certificate; what it had counts no more."""
        await self._nodes.enroll_again(actor_of(call), int(node_id))
        return OkNode(int(node_id))

    @routes.post(f"/<{ID}:node_id>/heartbeat", reply=HeartbeatReply, who=user_or_device, statuses=(403,))
    async def heartbeat(self, call: Call, node_id: str) -> HeartbeatReply:
        """Note that a node is alive: by its own device, or by who manages the network's nodes."""
        number = int(node_id)
        caller = call.caller
        if isinstance(caller, MeshCaller) and caller.device is not None:
            if caller.device.node_id != number:
                raise Missing(NODE_MISSING)
        else:
            await self._nodes.require_manager(actor_of(call), number)
        return HeartbeatReply(shown(await self._heartbeats.beat(number)))


class CertificateEndpoints:
    """Certificates."""

    routes = Routes(prefix="/certificates", tag="Certificates")

    def __init__(self, nodes: Nodes, issued: IssuedCertificates) -> None:
        self._nodes = nodes
        self._issued = issued

    @routes.post(
        "/create",
        reply=CreatedCertificate,
        who=user,
        body=JsonBody(CreateBody),
        audit="mesh.certificate.create",
        statuses=(403, 404, 409),
    )
    async def create_certificate(self, call: Call, body: CreateBody) -> CreatedCertificate:
        """Make a node with an address, keys and a certificate. The first of a network is a lighthouse."""
        call.audit_object = body.name
        made = await self._nodes.create(actor_of(call), body.network_id, body.wanted())
        if made.key is None:
            raise forbidden("The node keeps its own key")
        return CreatedCertificate(
            node_id=made.node.id,
            hostname=made.node.hostname,
            ip_address=made.node.ip_address or "",
            certificate=made.issued.certificate,
            private_key=made.key.private.reveal(),
            ca_certificate=made.issued.authority,
        )

    @routes.post(
        "/sign",
        reply=SignedCertificate,
        who=user,
        body=JsonBody(SignBody),
        audit="mesh.certificate.sign",
        statuses=(403, 404, 409),
    )
    async def sign_certificate(self, call: Call, body: SignBody) -> SignedCertificate:
        """Sign a certificate for a host that keeps its own key: for a new node, or the one of that name."""
        call.audit_object = body.name
        try:
            public_key = read_public_key(body.public_key)
        except BadCertificate as error:
            raise Invalid("public_key", str(error)) from None
        made = await self._nodes.sign(actor_of(call), body.network_id, body.wanted(), public_key)
        return SignedCertificate(made.node.ip_address or "", made.issued.certificate, made.issued.authority)

    @routes.get("", reply=list[ListedCertificate], who=user, query=NodesQuery, statuses=(403, 404))
    async def list_certificates(self, call: Call, query: NodesQuery) -> list[ListedCertificate]:
        """The certificates that were issued in the caller's networks, the newest first."""
        return [
            ListedCertificate(
                id=row.id,
                node_id=row.node_id,
                node_name=row.node_name,
                network_id=row.network_id,
                network_name=row.network_name,
                ip_address=row.ip_address,
                issued_at=shown(row.issued_at),
                expires_at=shown(row.expires_at),
                revoked_at=shown_or_none(row.revoked_at),
            )
            for row in await self._issued.of(actor_of(call), query.network_id)
        ]


def attachment(made: Download, content_type: str, name: str) -> Reply:
    """A file to be saved; a node's name needs no quoting."""
    headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'}
    return Reply(200, made.content, content_type, headers)
