"""Puts the mesh surface together from the foundations it is given."""

from dataclasses import dataclass
from typing import Any

from appliance.background import Background
from appliance.database.audit import AuditLog
from appliance.database.postgresql import PostgreSQL
from appliance.database.store import Store
from appliance.database.thread import Database
from appliance.database.trail import Trail
from appliance.http.endpoints import Endpoint, bind
from appliance.http.router import Router
from appliance.http.surface import Surface
from appliance.mesh.administration import Administration
from appliance.mesh.authenticator import MeshAuthenticator
from appliance.mesh.callers import SURFACE
from appliance.mesh.development import Development
from appliance.mesh.device.devices import Devices
from appliance.mesh.device.downloads import Downloads
from appliance.mesh.device.enrollment import Enrollment
from appliance.mesh.device.heartbeats import Heartbeats
from appliance.mesh.device.information import Information
from appliance.mesh.device.polls import Configurations
from appliance.mesh.endpoints_auth import AuthEndpoints
from appliance.mesh.endpoints_device import DeviceEndpoints
from appliance.mesh.endpoints_networks import NetworkEndpoints
from appliance.mesh.endpoints_nodes import CertificateEndpoints, NodeEndpoints
from appliance.mesh.endpoints_people import MemberEndpoints, UserEndpoints
from appliance.mesh.endpoints_requests import GrantEndpoints, InvitationEndpoints, NodeRequestEndpoints
from appliance.mesh.endpoints_root import PREFIX, RootEndpoints
from appliance.mesh.envelope import MeshEnvelope, translate
from appliance.mesh.frontend import Frontend
from appliance.mesh.grants import Grants
from appliance.mesh.group_firewalls import GroupFirewalls
from appliance.mesh.invitations import Invitations
from appliance.mesh.issued import IssuedCertificates
from appliance.mesh.limits import Limits
from appliance.mesh.mail.outbox import Outbox
from appliance.mesh.mail.sender import Sender
from appliance.mesh.members import Members
from appliance.mesh.networks import Networks
from appliance.mesh.node_requests import NodeRequests
from appliance.mesh.nodes import Nodes
from appliance.mesh.people import People
from appliance.mesh.reauthentication import Reauthentication
from appliance.mesh.store.history import HISTORY
from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault
from appliance.settings import Settings
from appliance.threads import Threads


@dataclass(frozen=True)
class Foundations:
    """What the mesh surface stands on. `reactor` is also the clock; `database` has the mesh's tables."""

    reactor: Any
    settings: Settings
    audit_log: AuditLog
    database: Database
    threads: Threads
    background: Background


class Mesh:
    """The mesh surface, and what has to be started and stopped for it. `prepare` comes before all else."""

    def __init__(self, foundations: Foundations) -> None:
        settings = foundations.settings
        self._settings = settings
        self._vault = Vault()
        url = settings.mesh.database_url
        self._server = None if url is None else PostgreSQL(foundations.reactor, url, HISTORY)
        self.endpoints = self._endpoints(foundations, foundations.database if self._server is None else self._server)
        self.surface = Surface(
            name=SURFACE,
            prefix=PREFIX,
            router=Router(PREFIX, self.endpoints),
            envelope=MeshEnvelope(),
            authenticator=self._authenticator,
            audit=Trail(foundations.audit_log, SURFACE),
            translate=translate,
        )

    def document(self) -> dict[str, object]:
        """The OpenAPI document of this surface."""
        return self._root.document()

    def prepare(self) -> None:
        """Read the master key, or make it. Blocking; raises `MasterKeyUnusable`, OSError."""
        self._vault.prepare(self._settings.mesh_master_key_file)

    async def start(self) -> None:
        """Connect to the server of the mesh's tables, where they are on one. Raises a `DatabaseError`."""
        if self._server is not None:
            await self._server.open()
        await self._outbox.give_up_interrupted()

    async def stop(self) -> None:
        """End what `start` began."""
        if self._server is not None:
            await self._server.close()

    def _endpoints(self, foundations: Foundations, store: Store) -> list[Endpoint]:
        clock, mesh, vault = foundations.reactor, foundations.settings.mesh, self._vault
        tokens, people, devices = Tokens(clock, vault), People(store, clock), Devices(store)
        self._authenticator = MeshAuthenticator(tokens, people, devices)
        nodes, downloads = Nodes(store, clock, vault), Downloads(store, clock, vault)
        heartbeats = Heartbeats(store, clock, foundations.background)
        limits = Limits(clock, mesh.is_rate_limit_exempt)
        reauthentication = Reauthentication(store, clock, vault, tokens)
        frontend = Frontend(mesh.frontend_url)
        sender = Sender(foundations.reactor, foundations.threads, mesh.smtp)
        self._outbox = Outbox(store, clock, foundations.background, sender, frontend)
        groups: list[object] = [
            AuthEndpoints(
                self._authenticator,
                people,
                tokens,
                Development(mesh.dev_token, possible=mesh.debug or mesh.oidc.issuer is None),
                reauthentication,
                frontend,
                limits,
            ),
            NetworkEndpoints(Networks(store, clock, vault), GroupFirewalls(store, clock), reauthentication),
            NodeEndpoints(clock, nodes, downloads, heartbeats),
            CertificateEndpoints(nodes, IssuedCertificates(store)),
            DeviceEndpoints(
                Enrollment(store, clock, vault, tokens),
                Configurations(store, clock, vault),
                downloads,
                Information(store),
                heartbeats,
                limits,
            ),
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
