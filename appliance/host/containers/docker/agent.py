"""treq over a Unix socket. The only module that imports treq: it is loaded when an engine is first looked for."""

from pathlib import Path
from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI, Agent, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

NOT_CONNECTED = ConnectError
"""What a request fails with that has not been sent."""
BROKEN = (ConnectionClosed, RequestTransmissionFailed, ResponseFailed)
"""What a request fails with of which nobody knows whether it was heard."""
WHOLE = (ResponseDone, PotentialDataLoss)
"""What a body ends with that is complete; the second is that of a body without length or chunks."""

SIP, GULP = 16 * 1024, 64 * 1024
"""Bytes read at once of a stream, and of an answer. An engine wraps each line of a log in a chunk of its own: 64 KiB of
short ones would take 15 ms."""

_CONNECT_SECONDS = 5.0


def was_cancelled(error: Exception) -> bool:
    """Whether a request is `BROKEN` because whoever sent it gave it up."""
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", ()))


def client(reactor: Any, path: Path, read_size: int) -> HTTPClient:
    """A client whose every request goes over a new connection to the socket at `path`, whatever its URL's host.

    It reads at most `read_size` bytes at once.
    """
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=_CONNECT_SECONDS)
    return HTTPClient(Agent.usingEndpointFactory(reactor, _Always(_Tuned(endpoint, read_size))))


@implementer(IAgentEndpointFactory)
class _Always:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


@implementer(IStreamClientEndpoint)
class _Tuned:
    """Reads so much at a time from what it connects to, and says nothing of it to the log."""

    def __init__(self, endpoint: UNIXClientEndpoint, read_size: int) -> None:
        self._endpoint = endpoint
        self._read_size = read_size

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        cast(Any, protocolFactory).noisy = False
        connecting = cast("Deferred[IProtocol]", self._endpoint.connect(protocolFactory))
        return connecting.addCallback(self._tune)

    def _tune(self, protocol: IProtocol) -> IProtocol:
        transport: Any = cast(Any, protocol).transport
        transport.bufferSize = self._read_size
        return protocol
