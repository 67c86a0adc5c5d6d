"""Puts the mesh together from the foundations it is given.

Imported when the mesh is first used: with SQLAlchemy and all else it needs it takes 20 MB, which most appliances never
need.
"""

from appliance.database.store import Store
from appliance.http.endpoints import Endpoint, bind
from appliance.http.router import Router
from appliance.mesh.administration import Administration
from appliance.mesh.authenticator import MeshAuthenticator
from appliance.mesh.development import Development
from appliance.mesh.device.devices import Devices
from appliance.mesh.device.downloads import Downloads
from appliance.mesh.device.enrollment import Enrollment
from appliance.mesh.device.heartbeats import Heartbeats
from appliance.mesh.device.information import Information
from appliance.mesh.device.polls import Configurations
from appliance.mesh.dns import Dns
from appliance.mesh.endpoints_auth import AuthEndpoints
from appliance.mesh.endpoints_device import DeviceEndpoints
from appliance.mesh.endpoints_dns import DnsEndpoints
from appliance.mesh.endpoints_networks import NetworkEndpoints
from appliance.mesh.endpoints_nodes import CertificateEndpoints, NodeEndpoints
from appliance.mesh.endpoints_people import MemberEndpoints, UserEndpoints
from appliance.mesh.endpoints_requests import GrantEndpoints, InvitationEndpoints, NodeRequestEndpoints
from appliance.mesh.endpoints_root import RootEndpoints
from appliance.mesh.frontend import Frontend
from appliance.mesh.grants import Grants
from appliance.mesh.group_firewalls import GroupFirewalls
from appliance.mesh.invitations import Invitations
from appliance.mesh.issued import IssuedCertificates
from appliance.mesh.lifecycle.lifecycle import Lifecycle
from appliance.mesh.limits import Limits
from appliance.mesh.mail.outbox import Outbox
from appliance.mesh.mail.sender import Sender
from appliance.mesh.members import Members
from appliance.mesh.networks import Networks
from appliance.mesh.node_requests import NodeRequests
from appliance.mesh.nodes import Nodes
from appliance.mesh.oidc.oidc import Oidc
from appliance.mesh.people import People
from appliance.mesh.reauthentication import Reauthentication
from appliance.mesh.surface import PREFIX, Foundations
from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault


class Assembly:
    """The mesh at work: its routes, who may take them, and what goes on in the background."""

    def __init__(self, foundations: Foundations, store: Store, vault: Vault) -> None:
        self._background = foundations.background
        self._vault = vault
        self.router = Router(PREFIX, self._endpoints(foundations, store))

    def document(self) -> dict[str, object]:
        """The OpenAPI document."""
        return self._root.document()

    async def start(self) -> None:
        """Begin what goes on in the background. Raises a `DatabaseError`."""
        await self._outbox.give_up_interrupted()
        self._lifecycle.start(self._background)

    def _endpoints(self, foundations: Foundations, store: Store) -> list[Endpoint]:
        clock, mesh, vault = foundations.reactor, foundations.settings.mesh, self._vault
        tokens, people, devices = Tokens(clock, vault), People(store, clock), Devices(store, foundations.background)
        self.authenticator = MeshAuthenticator(tokens, people, devices)
        nodes, downloads = Nodes(store, clock, vault), Downloads(store, clock, vault, mesh.listen_port)
        heartbeats = Heartbeats(store, clock, foundations.background)
        limits = Limits(clock, mesh.is_rate_limit_exempt)
        self._lifecycle = Lifecycle(store, clock, vault, foundations.settings.audit.keep_days)
        dns = Dns(store, clock)
        reauthentication = Reauthentication(store, clock, vault, tokens)
        frontend = Frontend(mesh.frontend_url)
        sender = Sender(foundations.reactor, foundations.threads, mesh.smtp)
        oidc = (
            None
            if mesh.oidc.issuer is None
            else Oidc(foundations.reactor, foundations.threads, people, tokens, vault, mesh.oidc)
        )
        self._outbox = Outbox(store, clock, foundations.background, sender, frontend)
        groups: list[object] = [
            AuthEndpoints(
                self.authenticator,
                people,
                tokens,
                Development(mesh.dev_token, possible=mesh.debug or mesh.oidc.issuer is None),
                reauthentication,
                frontend,
                limits,
                oidc,
            ),
            NetworkEndpoints(Networks(store, clock, vault), GroupFirewalls(store, clock), reauthentication),
            NodeEndpoints(clock, nodes, downloads, heartbeats),
            CertificateEndpoints(nodes, IssuedCertificates(store)),
            DeviceEndpoints(
                Enrollment(store, clock, vault, tokens),
                Configurations(store, clock, vault, mesh.listen_port),
                downloads,
                Information(store),
                dns,
                heartbeats,
                limits,
            ),
            DnsEndpoints(dns),
            MemberEndpoints(Members(store, clock)),
            UserEndpoints(Administration(store, clock)),
            NodeRequestEndpoints(NodeRequests(store, clock, vault)),
            GrantEndpoints(Grants(store, clock)),
            InvitationEndpoints(Invitations(store, clock, vault), self._outbox, limits),
        ]
        found = [endpoint for group in groups for endpoint in bind(group)]
        self._root = RootEndpoints(found)
        found += bind(self._root)
        return found
