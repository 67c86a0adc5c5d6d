"""Twisted's HTTP client as it is used here. It is what treq is made of, which prepares every request for cookies,
redirects and gzip: that costs as much again, and takes gzip apart before any limit sees what comes of it.

Loaded when something is first asked.
"""

import socket
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    _HTTP11ClientFactory,
)
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
"""Bytes read at once of a stream, and of an answer. Who answers may wrap each line of a log in a chunk of its own:
64 KiB of short ones would take 15 ms."""

HEAD_LIMIT = 64 * 1024
"""Bytes before an answer's body, and a read more."""

CONNECT_SECONDS = 5.0

_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""Seconds and tries, tcp(7): a stream may be silent for hours, and only so it is found out within two minutes that the
other machine, or the way to it, has gone."""


def was_cancelled(error: Exception) -> bool:
    """Whether a request is `BROKEN` because whoever sent it gave it up."""
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", ()))


def agent(reactor: Any, endpoint: IStreamClientEndpoint, pool: HTTPConnectionPool | None = None) -> Agent:
    """An agent whose every request goes to `endpoint`, whatever its URL's host: each over a connection of its own, or
    over those that `pool` keeps."""
    if pool is None:
        pool = HTTPConnectionPool(reactor, persistent=False)
    pool._factory = _Clients
    return cast(Agent, Agent.usingEndpointFactory(reactor, _Always(endpoint), pool))


class _Client(HTTP11ClientProtocol):
    """Hangs up on who sends status lines and headers without end, of which Twisted keeps as many as come.

    Uses private names of Twisted.
    """

    _head = 0

    def dataReceived(self, bytes: bytes) -> None:
        """What has come."""
        super().dataReceived(bytes)
        if self._parser is None or self._parser.state not in (STATUS, HEADER):
            self._head = 0
            return
        self._head += len(bytes)
        if self._head > HEAD_LIMIT:
            cast(Any, self.transport).abortConnection()


class _Clients(_HTTP11ClientFactory):
    def buildProtocol(self, addr: IAddress | None) -> HTTP11ClientProtocol:
        return _Client(self._quiescentCallback)


@implementer(IAgentEndpointFactory)
class _Always:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


@implementer(IStreamClientEndpoint)
class Tuned:
    """Reads at most so many bytes at a time from what it connects to, and says nothing of it to the log.

    Who gives up connecting gets `CancelledError`; some endpoints make a host that is not known of it. A name that
    cannot be one, and an address with a zone that is none, fails as a host that is not known.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, read_size: int) -> None:
        self._endpoint = endpoint
        self._read_size = read_size

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        factory: Any = protocolFactory
        while factory is not None:  # TLS wraps another
            factory.noisy = False
            factory = getattr(factory, "wrappedFactory", None)
        connecting = self._endpoint.connect(protocolFactory)
        given_up = False

        def give_up(_: Deferred[IProtocol]) -> None:
            nonlocal given_up
            given_up = True
            connecting.cancel()

        def tell(result: Any) -> None:
            if not given_up:
                connected.callback(_unknown(result) if isinstance(result, Failure) else result)

        connected: Deferred[IProtocol] = Deferred(give_up)
        _ = connecting.addCallback(self._tune).addBoth(tell)
        return connected

    def _tune(self, protocol: IProtocol) -> IProtocol:
        transport: Any = cast(Any, protocol).transport
        transport.bufferSize = self._read_size
        if transport.addressFamily != socket.AF_UNIX:
            transport.setTcpKeepAlive(True)
            for option, value in _KEEP_ALIVE:
                transport.getHandle().setsockopt(socket.IPPROTO_TCP, option, value)
        return protocol


def _unknown(failure: Failure) -> Failure:
    return Failure(DNSLookupError(str(failure.value))) if failure.check(ValueError, socket.gaierror) else failure
