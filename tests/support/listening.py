"""Real listeners on 127.0.0.1, and clients that may block, for tests."""

import socket
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet import reactor as global_reactor
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import TestCase

P = ParamSpec("P")
T = TypeVar("T")

reactor: Any = global_reactor


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class ListeningTestCase(TestCase):
    """A test case whose listeners and their connections are gone before it ends."""

    timeout = 60

    def listen(self, factory: IProtocolFactory, interface: str = "127.0.0.1") -> int:
        """Listen on a port of the system's choice, which is returned."""
        port = cast(IListeningPort, reactor.listenTCP(0, factory, interface=interface))
        self.addCleanup(self._close, port)
        return cast(IPv4Address, port.getHost()).port

    def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call what blocks (a client) beside the reactor."""
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *args, **kwargs)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when `condition` holds; the test's own time limit bounds it."""
        while not condition():
            await deferLater(reactor, 0.005, lambda: None)

    async def _close(self, port: IListeningPort) -> None:
        await cast("Deferred[object]", port.stopListening())
        for connection in accepted():
            connection.abortConnection()
        await deferLater(reactor, 0, lambda: None)  # whom they belong to is told in the next turn
        await self.until(lambda: not accepted())


def accepted() -> list[tcp.Server]:
    """The connections that listeners have accepted and that are still open."""
    return [each for each in reactor.getReaders() if isinstance(each, tcp.Server)]


def echo_factory() -> Factory[Echo]:
    """Serves `Echo`."""
    return cast("Factory[Echo]", Factory.forProtocol(Echo))


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A blocking client socket that gives up after ten seconds."""
    return socket.create_connection((host, port), timeout=10)
