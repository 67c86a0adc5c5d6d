"""One context of one kubeconfig in use: its credentials, and the connections that are made with them."""

from typing import Any

from appliance.host.kubernetes.access import Access
from appliance.host.kubernetes.credentials import Credential, Credentials, Fixed, from_files
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.exec_credentials import ExecCredentials
from appliance.host.kubernetes.target import Target
from appliance.host.kubernetes.trust import ConnectionCreator, Identity
from appliance.host.outgoing.words import shown
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

KEPT_CONNECTIONS = 4
IDLE_SECONDS = 15
"""How long a connection is kept that nobody uses; shorter than servers and load balancers keep theirs."""


class Session:
    """What an `Access` amounts to. `close` it when another takes its place."""

    def __init__(self, reactor: Any, threads: Threads, access: Access, credentials: Credentials) -> None:
        self.access = access
        self.credentials = credentials
        self._reactor = reactor
        self._threads = threads
        self._connections: Connections | None = None

    async def connections(self) -> tuple["Connections", Credential]:
        """What to send requests with, and what they show. Raises `ClusterError`."""
        credential = await self.credentials.current()
        if self._connections is None or self._connections.identity != credential.identity:
            creator = None
            if self.access.server.secure:
                creator = await self._threads.run(ConnectionCreator, self.access.trust, credential.identity)
            self.close()
            self._connections = Connections(self._reactor, self.access, credential.identity, creator)
        return self._connections, credential

    def close(self) -> None:
        """Let go of idle connections; those in use end with what they are used for."""
        if self._connections is not None:
            self._connections.close()


class Connections:
    """Connections to one server as one identity, by TLS if there is a `creator`."""

    def __init__(
        self, reactor: Any, access: Access, identity: Identity | None, creator: ConnectionCreator | None
    ) -> None:
        self.identity = identity
        self._access = access
        self._reactor = reactor
        self._creator = creator
        self._pool: Any = None
        self._clients: dict[bool, Any] = {}  # treq's, for streams and for answers, made when they are first needed

    def target(self, credential: Credential) -> Target:
        """Where a request goes that shows `credential`."""
        return Target(self._access.server, self._access.selected.context, credential.headers, self._creator)

    def client(self, target: Target, *, streams: bool) -> Any:
        """treq's client: for streams one that uses each connection once, else one that keeps some."""
        from appliance.host.outgoing import agent

        if streams not in self._clients:
            endpoint = target.endpoint(self._reactor, agent.SIP if streams else agent.GULP)
            if not streams:
                self._pool = agent.pool(self._reactor, KEPT_CONNECTIONS, IDLE_SECONDS)
            self._clients[streams] = agent.client(self._reactor, endpoint, None if streams else self._pool)
        return self._clients[streams]

    def close(self) -> None:
        """Let go of idle connections."""
        if self._pool is not None:
            _ = self._pool.closeCachedConnections()


def open_session(reactor: Any, threads: Threads, runner: ProcessRunner, access: Access) -> Session:
    """The session for `access`. Raises `ClusterError` for credentials that cannot be used."""
    return Session(reactor, threads, access, _credentials(threads, runner, access))


def _credentials(threads: Threads, runner: ProcessRunner, access: Access) -> Credentials:
    """Those in the files, or else the plugin's. What is not encrypted shows none, as kubectl does it."""
    if not access.server.secure:
        return Fixed(Credential((), None))
    user, name = access.selected.user, access.selected.user_name
    if user.auth_provider is not None:
        provider = shown(user.auth_provider.name, 60)
        raise ClusterError(f"The auth-provider {provider!r} of user {name!r} is not supported: use exec or a token")
    in_files = from_files(access)
    if user.exec is None or in_files.authorizes:
        return Fixed(in_files)
    return ExecCredentials(threads, runner, access, user.exec)
