"""TLS for requests that are given up in the middle."""

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer


class _Abrupt(BufferingTLSTransport):
    """Hangs up at once. Twisted's waits for the other side's goodbye, which need not come: it may be stuck, or its
    goodbye stand behind megabytes that nobody reads any more."""

    def loseConnection(self) -> None:
        self.abortConnection()


class _Factory(TLSMemoryBIOFactory):
    protocol: type[TLSMemoryBIOProtocol] = _Abrupt


@implementer(IStreamClientEndpoint)
class AbruptTls:
    """Connects by `endpoint` and speaks TLS. `loseConnection` hangs up, for a protocol that by then has sent all."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator, endpoint: IStreamClientEndpoint) -> None:
        self._creator = creator
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self._endpoint.connect(_Factory(self._creator, True, protocolFactory))
        return connecting.addCallback(lambda outer: cast(ProtocolWrapper, outer).wrappedProtocol)
