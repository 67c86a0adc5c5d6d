"""One context of one kubeconfig in use: its credentials, and the connections that are made with them."""

from typing import Any

from appliance.host.kubernetes.access import Access
from appliance.host.kubernetes.credentials import Credential, Credentials, Fixed, from_files
from appliance.host.kubernetes.target import Target
from appliance.host.kubernetes.trust import ConnectionCreator, Identity
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
            made = Connections(self._reactor, self.access, credential.identity, creator)
            self.close()
            self._connections = made
        return self._connections, credential

    def close(self) -> None:
        """Let go of idle connections; those in use end with what they are used for."""
        if self._connections is not None:
            self._connections.close()


class Connections:
    """Connections to one server as one identity, by TLS unless it is on this machine and does not speak it."""

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
        """Where a request goes that shows `credential`. What is not encrypted shows none, as kubectl does it."""
        headers = credential.headers if self._creator is not None else ()
        return Target(self._access.server, self._access.selected.context, headers, self._creator)

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


def open_session(reactor: Any, threads: Threads, access: Access) -> Session:
    """The session for `access`. Raises `ClusterError` for credentials that cannot be used."""
    return Session(reactor, threads, access, Fixed(from_files(access)))
