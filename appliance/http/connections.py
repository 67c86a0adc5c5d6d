"""How many connections there may be, and which are given up: the outermost layer of every listener."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.http.address import address_group

SWEEP_INTERVAL = 1.0
KEEPALIVE_IDLE = 30
KEEPALIVE_INTERVAL = 10


class ConnectionLimits:
    """
    The limits that all listeners of one server share.

    A connection over `total`, or over `per_address` from one source, is closed at once without an answer. A
    source is an IPv4 address or an IPv6 /64, which is the least that one customer is given (RFC 6177);
    addresses that are `exempt` (proxies, which speak for many) count towards `total` only. What has not
    finished its TLS handshake after `handshake_timeout` seconds is dropped, and so is a peer that
    acknowledges nothing for `user_timeout` seconds or, reading nothing, leaves our data unsent that long
    (tcp(7), TCP_USER_TIMEOUT). One sweep a second serves all connections.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        total: int,
        per_address: int,
        handshake_timeout: float = 10.0,
        user_timeout: float = 30.0,
        exempt: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.refused = 0
        self.timed_out = 0
        self._reactor = reactor
        self._total = total
        self._per_address = per_address
        self._handshake_timeout = handshake_timeout
        self._user_timeout = user_timeout
        self._exempt = exempt
        self._connections: set[_Guarded] = set()
        self._per_source: dict[str, int] = {}
        self._handshaking: dict[_Guarded, float] = {}  # in order of deadline, for all have the same time
        self._listeners = 0
        self._unreported = 0
        self._sweep_call: IDelayedCall | None = None

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def wrap(self, factory: IProtocolFactory) -> "GuardedFactory":
        """`factory` (for TLS: the one made by `CertificateStore.wrap`) under these limits."""
        return GuardedFactory(self, factory)

    def _admits(self, source: str | None) -> bool:
        admitted = len(self._connections) < self._total and (
            source is None or self._per_source.get(source, 0) < self._per_address
        )
        if not admitted:
            self.refused += 1
            self._unreported += 1
            self._schedule_sweep()
        return admitted

    def _source(self, peer: IAddress) -> str | None:
        """What connections are counted by; None for what is not counted."""
        if not isinstance(peer, IPv4Address | IPv6Address) or self._exempt(peer.host):
            return None
        return address_group(peer.host)

    def _opened(self, connection: "_Guarded") -> None:
        self._connections.add(connection)
        if connection.source is not None:
            self._per_source[connection.source] = self._per_source.get(connection.source, 0) + 1
        if connection.speaks_tls:
            self._handshaking[connection] = self._reactor.seconds() + self._handshake_timeout
            self._schedule_sweep()

    def _closed(self, connection: "_Guarded") -> None:
        self._connections.discard(connection)
        self._handshaking.pop(connection, None)
        if connection.source is not None:
            left = self._per_source[connection.source] - 1
            if left:
                self._per_source[connection.source] = left
            else:
                del self._per_source[connection.source]
        self._settle()

    def _listening(self, change: int) -> None:
        self._listeners += change
        self._settle()

    def _settle(self) -> None:
        # Nothing of ours stays in a reactor whose listeners and connections are gone.
        if not self._listeners and not self._connections and self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None

    def _schedule_sweep(self) -> None:
        if self._sweep_call is None:
            self._sweep_call = self._reactor.callLater(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        self._sweep_call = None
        now = self._reactor.seconds()
        while self._handshaking:
            connection, deadline = next(iter(self._handshaking.items()))
            if deadline > now:
                break
            del self._handshaking[connection]
            if not connection.handshake_finished():
                self.timed_out += 1
                connection.abort()
        if self._unreported:
            self.log.warn("{count} connections over the limits were refused", count=self._unreported)
            self._unreported = 0
        if self._handshaking:
            self._schedule_sweep()


@implementer(IProtocolFactory)
class GuardedFactory:
    """Counts and refuses connections before the wrapped factory hears of them."""

    def __init__(self, limits: ConnectionLimits, wrapped: IProtocolFactory) -> None:
        self._limits = limits
        self._wrapped = wrapped

    def doStart(self) -> None:
        """A port begins to listen."""
        self._wrapped.doStart()
        self._limits._listening(1)

    def doStop(self) -> None:
        """A port has stopped listening; its connections may go on."""
        self._wrapped.doStop()
        self._limits._listening(-1)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """A guarded protocol, or None, upon which the port closes the socket."""
        source = self._limits._source(addr)
        if not self._limits._admits(source):
            return None
        protocol = self._wrapped.buildProtocol(addr)
        return None if protocol is None else _Guarded(self._limits, protocol, source)


class _Guarded(Protocol):
    """
    Stands between transport and protocol when a connection begins and ends, and out of the way in between.

    The protocol is given the transport itself, and what is read goes to it without a call of ours. It must
    not put another in its place as the transport's `protocol`, or the end would not be noticed; under TLS
    nobody can.
    """

    def __init__(self, limits: ConnectionLimits, protocol: IProtocol, source: str | None) -> None:
        self.source = source
        self.speaks_tls = isinstance(protocol, TLSMemoryBIOProtocol)
        self._limits = limits
        self._protocol = protocol

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = transport
        self.connected = 1
        self._limits._opened(self)
        try:
            self._tune(transport)
            self._protocol.makeConnection(transport)
        except Exception:
            # The accept loop would leave the socket open, and the other sockets it accepted with it.
            self._limits.log.failure("A new connection could not be set up")
            self.abort()
        else:
            self.__dict__["dataReceived"] = self._protocol.dataReceived

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.__dict__.pop("dataReceived", None)
        self._limits._closed(self)
        self._protocol.connectionLost(reason)

    def handshake_finished(self) -> bool:
        """Whether the client's last message of the TLS handshake has come."""
        protocol = self._protocol
        return not isinstance(protocol, TLSMemoryBIOProtocol) or (protocol.getHandle().get_peer_finished() is not None)

    def abort(self) -> None:
        """Close without waiting for anything to be sent."""
        cast(ITCPTransport, self.transport).abortConnection()

    def _tune(self, transport: ITransport) -> None:
        if not ITCPTransport.providedBy(transport):
            return
        handle = cast(socket.socket, cast(ISystemHandle, transport).getHandle())
        milliseconds = int(self._limits._user_timeout * 1000)
        # The peer may be gone already: then the connection ends by itself.
        with suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
