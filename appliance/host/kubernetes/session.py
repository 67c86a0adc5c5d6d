"""One context of one kubeconfig in use: its credentials, and the connections that are made with them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredLock

from appliance.host.kubernetes.access import Access
from appliance.host.kubernetes.credentials import Credential, Credentials, Fixed, from_files
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.exec_credentials import ExecCredentials
from appliance.host.kubernetes.target import Target
from appliance.host.kubernetes.trust import ConnectionCreator
from appliance.host.outgoing.names import Together
from appliance.host.outgoing.words import shown
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.host.outgoing.connections import Connections

KEPT_CONNECTIONS = 4
IDLE_SECONDS = 15
"""How long a connection is kept that nobody uses; shorter than servers and load balancers keep theirs."""


@dataclass(frozen=True)
class Line:
    """What a request takes: what it shows, where it goes, and the connections to go over."""

    credential: Credential
    target: Target
    connections: "Connections"


class Session:
    """What an `Access` amounts to. `close` it when another takes its place."""

    def __init__(self, reactor: Any, threads: Threads, access: Access, credentials: Credentials) -> None:
        self.access = access
        self.credentials = credentials
        self._reactor = reactor
        self._threads = threads
        self._made: Line | None = None
        self._making = DeferredLock()

    async def line(self) -> Line:
        """What the next request takes; connections are made anew for another certificate. Raises `ClusterError`."""
        credential = await self.credentials.current()
        async with self._making:
            if self._made is None or self._made.credential.identity != credential.identity:
                made = await self._make(credential)
                self.close()
                self._made = made
            made = self._made
        if made.credential is not credential:
            target = replace(made.target, headers=credential.headers)
            made = self._made = Line(credential, target, made.connections)
        return made

    def close(self) -> None:
        """Let go of idle connections; those in use end with what they are used for."""
        if self._made is not None:
            self._made.connections.close()

    async def _make(self, credential: Credential) -> Line:
        from appliance.host.outgoing import agent
        from appliance.host.outgoing.connections import Connections

        creator = None
        if self.access.server.secure:
            try:
                creator = await self._threads.run(ConnectionCreator, self.access.trust, credential.identity)
            except ClusterError:
                _ = self.credentials.refused(credential)
                raise
        names = Together(self._reactor.nameResolver)
        target = Target(self.access.server, self.access.selected.context, credential.headers, creator, names)
        answers = target.endpoint(self._reactor, agent.GULP, abrupt=True)
        streams = target.endpoint(self._reactor, agent.SIP, abrupt=True)
        return Line(credential, target, Connections(self._reactor, answers, streams, KEPT_CONNECTIONS, IDLE_SECONDS))


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
