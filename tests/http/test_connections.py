import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from appliance.http.connections import ConnectionLimits, GuardedFactory
from appliance.http.tls import CertificateStore
from tests.support.listening import ListeningTestCase, accepted, connect, echo_factory, reactor


def v4(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 1000)


def v6(host: str) -> IPv6Address:
    return IPv6Address("TCP", host, 1000)


class LimitsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def limits(
        self,
        *,
        total: int = 1000,
        per_address: int = 1000,
        exempt: Callable[[str], bool] = lambda host: False,
    ) -> ConnectionLimits:
        return ConnectionLimits(self.clock, total=total, per_address=per_address, exempt=exempt)

    def open(self, factory: GuardedFactory, peer: IAddress) -> IProtocol | None:
        protocol = factory.buildProtocol(peer)
        if protocol is not None:
            protocol.makeConnection(StringTransport(peerAddress=peer))
        return protocol

    def admits(self, factory: GuardedFactory, peer: IAddress) -> bool:
        return self.open(factory, peer) is not None


class CountingTests(LimitsTestCase):
    def test_refuses_over_the_total_until_one_ends(self) -> None:
        limits = self.limits(total=2)
        factory = limits.wrap(echo_factory())
        first = self.open(factory, v4("192.0.2.1"))
        assert first is not None
        self.assertTrue(self.admits(factory, v4("192.0.2.2")))
        self.assertFalse(self.admits(factory, v4("192.0.2.3")))
        self.assertEqual((limits.open, limits.refused), (2, 1))

        first.connectionLost(cast(Any, None))

        self.assertTrue(self.admits(factory, v4("192.0.2.3")))
        self.assertEqual(limits.open, 2)

    def test_refuses_one_address_and_no_other(self) -> None:
        factory = self.limits(per_address=1).wrap(echo_factory())

        self.assertTrue(self.admits(factory, v4("192.0.2.1")))
        self.assertFalse(self.admits(factory, v4("192.0.2.1")))
        self.assertTrue(self.admits(factory, v4("192.0.2.2")))

    def test_counts_ipv6_by_64(self) -> None:
        factory = self.limits(per_address=1).wrap(echo_factory())

        self.assertTrue(self.admits(factory, v6("2001:db8:0:1::1")))
        self.assertFalse(self.admits(factory, v6("2001:db8:0:1:ffff::2")))
        self.assertTrue(self.admits(factory, v6("2001:db8:0:2::1")))
        self.assertTrue(self.admits(factory, v6("fe80::1%eth0")))
        self.assertFalse(self.admits(factory, v6("fe80::2%eth0")))

    def test_counts_mapped_addresses_as_ipv4(self) -> None:
        factory = self.limits(per_address=1).wrap(echo_factory())

        self.assertTrue(self.admits(factory, v6("::ffff:192.0.2.1")))
        self.assertFalse(self.admits(factory, v4("192.0.2.1")))
        self.assertTrue(self.admits(factory, v6("::ffff:192.0.2.2")))

    def test_counts_exempt_addresses_towards_the_total_only(self) -> None:
        factory = self.limits(total=3, per_address=1, exempt=lambda host: host == "192.0.2.9").wrap(echo_factory())

        admitted = [self.admits(factory, v4("192.0.2.9")) for _ in range(4)]

        self.assertEqual(admitted, [True, True, True, False])

    def test_counts_unix_sockets_towards_the_total_only(self) -> None:
        factory = self.limits(total=2, per_address=1).wrap(echo_factory())

        self.assertEqual([self.admits(factory, UNIXAddress(None)) for _ in range(3)], [True, True, False])

    def test_shares_the_limits_between_listeners(self) -> None:
        limits = self.limits(total=1)

        self.assertTrue(self.admits(limits.wrap(echo_factory()), v4("192.0.2.1")))
        self.assertFalse(self.admits(limits.wrap(echo_factory()), v4("192.0.2.2")))

    def test_forgets_addresses_whose_connections_have_ended(self) -> None:
        limits = self.limits()
        factory = limits.wrap(echo_factory())
        opened = [self.open(factory, v4(f"192.0.2.{each}")) for each in range(200)]
        for protocol in opened:
            assert protocol is not None
            protocol.connectionLost(cast(Any, None))

        self.assertEqual((limits.open, limits._per_source), (0, {}))

    def test_a_factory_that_declines_costs_nothing(self) -> None:
        class Declining(Factory[Protocol]):
            def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
                return None

        limits = self.limits(total=1)

        self.assertFalse(self.admits(limits.wrap(Declining()), v4("192.0.2.1")))
        self.assertTrue(self.admits(limits.wrap(echo_factory()), v4("192.0.2.1")))

    def test_a_connection_that_cannot_be_set_up_is_closed(self) -> None:
        class Failing(Protocol):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        factory = self.limits().wrap(cast(IProtocolFactory, Factory.forProtocol(Failing)))
        protocol = factory.buildProtocol(v4("192.0.2.1"))
        assert protocol is not None
        transport = StringTransport()

        protocol.makeConnection(transport)

        self.assertTrue(transport.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ReactorTests(LimitsTestCase):
    def test_leaves_nothing_in_the_reactor(self) -> None:
        limits = self.limits(total=1)
        factory = limits.wrap(echo_factory())
        factory.doStart()
        protocol = self.open(factory, v4("192.0.2.1"))
        assert protocol is not None
        self.assertFalse(self.admits(factory, v4("192.0.2.1")))
        factory.doStop()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

        protocol.connectionLost(cast(Any, None))

        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_idle_server_is_not_woken(self) -> None:
        factory = self.limits().wrap(echo_factory())
        factory.doStart()
        self.assertTrue(self.admits(factory, v4("192.0.2.1")))

        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tells_the_wrapped_factory_that_it_listens(self) -> None:
        wrapped = echo_factory()
        wrapped.noisy = False
        factory = self.limits().wrap(wrapped)

        factory.doStart()
        self.assertEqual(wrapped.numPorts, 1)
        factory.doStop()
        self.assertEqual(wrapped.numPorts, 0)


class SocketTests(ListeningTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="connections-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def serve(self, *, tls: bool = True, **options: Any) -> tuple[ConnectionLimits, int]:
        limits = ConnectionLimits(reactor, **({"total": 100, "per_address": 100} | options))
        factory: IProtocolFactory = echo_factory()
        if tls:
            store = CertificateStore(reactor, self.folder / "server.pem")
            store.start_now()
            factory = store.wrap(factory)
        return limits, self.listen(limits.wrap(factory))

    async def test_a_refused_connection_is_closed_at_once(self) -> None:
        limits, port = self.serve(per_address=1, tls=False)
        first = await self.in_thread(connect, port)
        self.addCleanup(first.close)
        await self.until(lambda: limits.open == 1)

        def refused() -> bytes:
            with connect(port) as second:
                return second.recv(1)

        self.assertEqual(await self.in_thread(refused), b"")

        def served() -> bytes:
            first.sendall(b"hello")
            return first.recv(100)

        self.assertEqual(await self.in_thread(served), b"hello")

    async def test_a_stalled_handshake_is_dropped_and_a_finished_one_stays(self) -> None:
        limits, port = self.serve(handshake_timeout=0.2)

        def finish() -> ssl.SSLSocket:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context.wrap_socket(connect(port))

        finished = await self.in_thread(finish)
        self.addCleanup(finished.close)
        silent = await self.in_thread(connect, port)
        self.addCleanup(silent.close)
        dripping = await self.in_thread(connect, port)
        self.addCleanup(dripping.close)
        dripping.sendall(b"\x16\x03\x01")
        await self.until(lambda: limits.open == 3)

        await self.until(lambda: limits.open == 1)

        self.assertEqual(limits.timed_out, 2)
        for dropped in (silent, dripping):
            with self.assertRaises(ConnectionResetError):
                dropped.recv(1)

        def echo() -> bytes:
            finished.sendall(b"still here")
            return finished.recv(100)

        self.assertEqual(await self.in_thread(echo), b"still here")

    async def test_a_handshake_given_up_by_the_client_is_forgotten(self) -> None:
        limits, port = self.serve(handshake_timeout=0.05)
        (await self.in_thread(connect, port)).close()
        await self.until(lambda: limits._sweep_call)
        await self.until(lambda: limits.open == 0)

        self.assertEqual((limits._handshaking, limits._per_source), ({}, {}))
        await self.until(lambda: limits._sweep_call is None)
        self.assertEqual(limits.timed_out, 0)

    async def test_dead_peers_are_noticed_by_the_kernel(self) -> None:
        limits, port = self.serve(user_timeout=12.5)
        client = await self.in_thread(connect, port)
        self.addCleanup(client.close)
        await self.until(lambda: limits.open == 1)

        (connection,) = accepted()
        accepted_socket = connection.getHandle()
        self.assertEqual(accepted_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 12500)
        self.assertEqual(accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30)
