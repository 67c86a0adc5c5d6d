"""Of a TLS connection that has ended nothing is left, without the garbage collector."""

import gc
import shutil
import socket
import ssl
import struct
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.interfaces import IProtocolFactory, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from appliance.http.connections import ConnectionLimits
from appliance.http.tls import CertificateStore
from tests.support.listening import ListeningTestCase, connect, reactor

_RESET = struct.pack("ii", 1, 0)


@implementer(IPushProducer)
class Producing(Protocol):
    """Sends back what comes, and takes part in flow control to its end."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if data == b"abort":
            self.transport.abortConnection()
        elif data == b"close":
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """Nothing is sent without being asked for."""

    resumeProducing = stopProducing = pauseProducing


def leave(peer: ssl.SSLSocket) -> None:
    """As most programs do, without a word of TLS."""


def say_goodbye(peer: ssl.SSLSocket) -> None:
    peer.sendall(b"close")
    peer.unwrap().close()


def reset(peer: ssl.SSLSocket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def be_thrown_out(peer: ssl.SSLSocket) -> None:
    peer.sendall(b"abort")
    peer.settimeout(10)
    try:
        peer.recv(1)
    except OSError:
        return


class LeavingTests(ListeningTestCase):
    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="tls-test-"))
        self.addCleanup(shutil.rmtree, folder)
        store = CertificateStore(reactor, folder / "server.pem")
        store.start_now()
        self.known: list[weakref.ref[Any]] = []
        factory = cast("Factory[Producing]", Factory.forProtocol(Producing))
        self.limits = ConnectionLimits(reactor, total=10, per_address=10)
        wrapped = store.wrap(cast(IProtocolFactory, factory))
        build = factory.buildProtocol

        def noted(address: Any) -> Any:
            protocol = build(address)
            self.known.append(weakref.ref(protocol))
            return protocol

        self.patch(factory, "buildProtocol", noted)
        self.patch(wrapped, "registerProtocol", lambda transport: self.known.append(weakref.ref(transport)))
        self.patch(wrapped, "unregisterProtocol", lambda transport: None)
        self.port = self.listen(self.limits.wrap(wrapped))
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def visit(self, end: Callable[[ssl.SSLSocket], None]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(connect(self.port)) as peer:
            peer.sendall(b"hello")
            assert peer.recv(5) == b"hello"
            end(peer)

    async def leaves_nothing(self, visit: Callable[..., None], *arguments: Any) -> None:
        for _ in range(3):
            await self.in_thread(visit, *arguments)
        await self.until(lambda: len(self.known) >= 6 and not self.limits.open)
        await self.until(iter([False, False, True]).__next__)  # the turn that ended the last one is over
        self.assertEqual([each() for each in self.known], [None] * len(self.known))

    async def test_a_client_that_just_leaves(self) -> None:
        await self.leaves_nothing(self.visit, leave)

    async def test_a_client_that_says_goodbye(self) -> None:
        await self.leaves_nothing(self.visit, say_goodbye)

    async def test_a_client_that_resets_the_connection(self) -> None:
        await self.leaves_nothing(self.visit, reset)

    async def test_a_client_that_is_thrown_out(self) -> None:
        await self.leaves_nothing(self.visit, be_thrown_out)

    async def test_a_client_that_leaves_in_its_handshake(self) -> None:
        def begin() -> None:
            with connect(self.port) as peer:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                with self.assertRaises(ssl.SSLWantReadError):
                    context.wrap_bio(incoming, outgoing).do_handshake()
                peer.sendall(outgoing.read())
                assert peer.recv(1)

        await self.leaves_nothing(begin)

    async def test_a_client_that_does_not_speak_tls(self) -> None:
        def speak() -> None:
            with connect(self.port) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while peer.recv(1000):
                    pass

        await self.leaves_nothing(speak)
