"""Where requests go and what they show, for those who speak to the cluster by another protocol than HTTP's own."""

from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHostnameResolver, IOpenSSLClientConnectionCreator, IStreamClientEndpoint

from appliance.host.kubernetes.server_url import ServerUrl
from appliance.host.outgoing.names import Resolving
from appliance.host.outgoing.tls import AbruptTls


@dataclass(frozen=True)
class Target:
    """The API server of the context, the headers that show who we are, and TLS where it is spoken (else None).

    `names` looks up names in the reactor's place.
    """

    server: ServerUrl
    context: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    tls: IOpenSSLClientConnectionCreator | None
    names: IHostnameResolver | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """A host name or an address."""
        return self.server.host

    @property
    def port(self) -> int:
        """Its port."""
        return self.server.port

    @property
    def prefix(self) -> str:
        """What stands before every path; often nothing."""
        return self.server.prefix

    def endpoint(self, reactor: Any, read_size: int, *, abrupt: bool = False) -> IStreamClientEndpoint:
        """What connects to it, and then reads at most `read_size` bytes at once.

        `abrupt` is for protocols that hang up only when they have sent all: see `AbruptTls`.
        """
        from appliance.host.outgoing import agent

        tuned = agent.Tuned(self._plain(reactor, agent.CONNECT_SECONDS), read_size)
        if self.tls is None:
            return cast(IStreamClientEndpoint, tuned)
        return AbruptTls(self.tls, tuned) if abrupt else wrapClientTLS(self.tls, tuned)

    def _plain(self, reactor: Any, seconds: float) -> IStreamClientEndpoint:
        if isIPv6Address(self.host):
            return TCP6ClientEndpoint(reactor, self.host, self.port, seconds)
        if isIPAddress(self.host):
            return TCP4ClientEndpoint(reactor, self.host, self.port, seconds)
        resolving = reactor if self.names is None else Resolving(reactor, self.names)
        return cast(IStreamClientEndpoint, HostnameEndpoint(resolving, self.host, self.port, timeout=seconds))
