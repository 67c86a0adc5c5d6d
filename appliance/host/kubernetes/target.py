"""Where requests go and what they show, for those who speak to the cluster by another protocol than HTTP's own."""

from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

from appliance.host.kubernetes.server_url import ServerUrl
from appliance.host.outgoing.tls import AbruptTls


@dataclass(frozen=True)
class Target:
    """The API server of the context, the headers that show who we are, and TLS where it is spoken (else None)."""

    server: ServerUrl
    context: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    tls: IOpenSSLClientConnectionCreator | None

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

        plain = HostnameEndpoint(reactor, self.host, self.port, timeout=agent.CONNECT_SECONDS)
        tuned = agent.Tuned(cast(IStreamClientEndpoint, plain), read_size)
        if self.tls is None:
            return cast(IStreamClientEndpoint, tuned)
        return AbruptTls(self.tls, tuned) if abrupt else wrapClientTLS(self.tls, tuned)
