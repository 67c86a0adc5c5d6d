"""Names of hosts, looked up without taking up the server's threads."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer


@implementer(IHostnameResolver)
class Together:
    """Looks names up by `resolver`, once for all who ask for the same one meanwhile.

    getaddrinfo(3) takes a thread, for many seconds where no name server answers, and cannot be given up: as many
    requests as there are threads would keep everybody else waiting.
    """

    def __init__(self, resolver: IHostnameResolver) -> None:
        self._resolver = resolver
        self._running: dict[tuple[object, ...], _Receivers] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        key = (hostName, portNumber, transportSemantics, None if addressTypes is None else tuple(addressTypes))
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Receivers(lambda: self._running.pop(key))
            running.add(resolutionReceiver)
            self._resolver.resolveHostName(running, hostName, portNumber, addressTypes, transportSemantics)
        else:
            running.add(resolutionReceiver)
        return running.resolution


@implementer(IResolutionReceiver)
class _Receivers:
    """Tells all of them the same."""

    resolution: IHostResolution

    def __init__(self, end: Any) -> None:
        self._end = end
        self._receivers: list[IResolutionReceiver] = []
        self._addresses: list[IAddress] = []

    def add(self, receiver: IResolutionReceiver) -> None:
        self._receivers.append(receiver)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        self._end()
        for receiver in self._receivers:
            receiver.resolutionBegan(self.resolution)
            for address in self._addresses:
                receiver.addressResolved(address)
            receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class Resolving:
    """`reactor`, but for how it looks up names."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Look names up by `resolver` from now on. Returns what did it so far."""
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
