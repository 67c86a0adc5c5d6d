"""Real sockets: our side behind the way of a request, the other side Autobahn's client."""

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from appliance.background import Background
from appliance.http.access_log import AccessLog
from appliance.http.address import TrustedProxies
from appliance.http.call import Call
from appliance.http.dispatch import Dispatcher
from appliance.http.endpoints import Routes, bind
from appliance.http.receivers import Receivers
from appliance.http.replies import Upgrade
from appliance.http.router import Router
from appliance.http.site import Limits, Site
from appliance.http.surface import Surface, Surfaces
from appliance.identity.caller import anyone
from appliance.threads import Threads
from appliance.websocket.handshake import OpenSockets, check_origin, check_upgrade
from appliance.websocket.socket import FRAGMENT_LIMIT, MESSAGE_LIMIT, WAITING_LIMIT, Socket, Sockets
from tests.support.listening import ListeningTestCase, reactor
from tests.support.site import Doorkeeper, Notebook, PlainEnvelope
from tests.support.websocket import Client, connect, forget_timers


class Echo:
    """Sends back each message; one that is a number first waits for the test to say `go`."""

    def __init__(self, owner: "SocketTestCase") -> None:
        self.owner = owner
        self.closings = 0
        self.socket: Socket | None = None

    def opened(self, socket: Socket) -> None:
        self.socket = socket
        self.owner.conversations.append(self)

    async def received(self, message: bytes) -> None:
        self.owner.begun.append(message)
        if message == b"fail":
            raise RuntimeError("as the test wants")
        if message.isdigit():
            turn: Deferred[None] = Deferred()
            self.owner.turns.append(turn)
            await turn
        if self.socket is not None:
            await self.socket.drained()
            self.socket.send(message)

    def closed(self) -> None:
        self.closings += 1
        self.owner.limit.leave(self.owner.groups.pop())


class EchoEndpoints:
    """Where the sockets are opened."""

    routes = Routes()

    def __init__(self, owner: "SocketTestCase") -> None:
        self.owner = owner

    @routes.get("/echo", who=anyone)
    async def echo(self, call: Call) -> Upgrade:
        check_upgrade(call)
        check_origin(call, ("https://friend.example",))
        self.owner.groups.append(self.owner.limit.enter(call.address))
        return Upgrade(self.owner.sockets.make(Echo(self.owner)))


class SocketTestCase(ListeningTestCase):
    def setUp(self) -> None:
        self.conversations: list[Echo] = []
        self.turns: list[Deferred[None]] = []
        self.begun: list[bytes] = []
        self.groups: list[str] = []
        self.limit = OpenSockets(3)
        self.background = Background()
        self.sockets = Sockets(reactor, self.background)
        surface = Surface(
            name="test",
            prefix="/ws",
            router=Router("/ws", bind(EchoEndpoints(self))),
            envelope=PlainEnvelope(),
            authenticator=Doorkeeper(),
            audit=Notebook(),
        )
        threads = Threads(reactor)
        self.lines: list[bytes] = []
        self.access_log = AccessLog(reactor, self.lines.append)
        self.site = Site(
            reactor,
            Dispatcher(Surfaces([surface]), Receivers(threads)),
            threads,
            self.access_log,
            TrustedProxies(lambda address: False),
            Limits(),
            lambda error: b"",
        )
        self.port = self.listen(self.site)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.background.stop()
        await self.sockets.close_all()
        await self.site.drain(0)
        forget_timers()

    async def connect(self, origin: str | None = None, path: str = "/ws/echo") -> Client:
        return await connect(self.port, path, origin=origin)

    async def test_messages_come_back_in_order(self) -> None:
        client = await self.connect()
        sent = [f"message {number} €".encode() for number in range(500)]
        for message in sent:
            client.sendMessage(message)
        await self.until(lambda: len(client.messages) == len(sent))
        self.assertEqual(client.messages, sent)
        self.access_log.flush()
        self.assertIn(b'"status":101', b"".join(self.lines))

    async def test_a_message_waits_until_the_one_before_is_dealt_with(self) -> None:
        client = await self.connect()
        client.sendMessage(b"1")
        client.sendMessage(b"second")
        await self.until(lambda: self.turns)
        client.sendMessage(b"third")
        await self.until(lambda: self.conversations[0].socket is not None and self.begun == [b"1"])
        self.assertEqual(client.messages, [])
        self.turns.pop().callback(None)
        await self.until(lambda: len(client.messages) == 3)
        self.assertEqual(client.messages, [b"1", b"second", b"third"])

    async def test_who_sends_too_much_is_not_read(self) -> None:
        client = await self.connect()
        client.sendMessage(b"1")
        await self.until(lambda: self.turns)
        for _ in range(3 * WAITING_LIMIT):
            client.sendMessage(bytes(100_000).replace(b"\0", b"x"))
        socket = self.conversations[0].socket
        assert socket is not None
        await self.until(lambda: len(socket._waiting) >= 20)
        held = len(socket._waiting)
        self.assertLess(held, 2 * WAITING_LIMIT)
        self.turns.pop().callback(None)
        await self.until(lambda: len(client.messages) == 3 * WAITING_LIMIT + 1)

    async def test_a_slow_reader_holds_back_the_sender(self) -> None:
        client = await self.connect()
        client.transport.pauseProducing()
        socket = await self.opened()
        for _ in range(100):
            socket.send(b"x" * 100_000)
            if socket.slow:
                break
        self.assertTrue(socket.slow)
        waiting = Deferred.fromCoroutine(socket.drained())
        self.assertNoResult(waiting)
        client.transport.resumeProducing()
        await waiting
        self.assertFalse(socket.slow)

    async def test_a_reader_that_leaves_lets_the_sender_go_on(self) -> None:
        client = await self.connect()
        client.transport.pauseProducing()
        socket = await self.opened()
        while not socket.slow:
            socket.send(b"x" * 100_000)
        waiting = Deferred.fromCoroutine(socket.drained())
        client.transport.abortConnection()
        await waiting
        socket.send(b"into the void")
        await self.until(lambda: self.conversations[0].closings)
        self.assertEqual(self.conversations[0].closings, 1)

    async def test_a_binary_message_is_refused(self) -> None:
        client = await self.connect()
        client.sendMessage(b"\0", isBinary=True)
        self.assertEqual((await client.ended)[1], 1003)

    async def test_a_message_that_is_too_large_is_refused(self) -> None:
        client = await self.connect()
        client.sendMessage(b"x" * (MESSAGE_LIMIT + 1))
        self.assertEqual((await client.ended)[1], 1009)

    async def test_a_message_of_the_largest_size_is_taken(self) -> None:
        client = await self.connect()
        client.sendMessage(b"x" * MESSAGE_LIMIT)
        await self.until(lambda: client.messages)
        self.assertEqual(len(client.messages[0]), MESSAGE_LIMIT)

    async def test_what_we_send_may_be_larger(self) -> None:
        client = await self.connect()
        (await self.opened()).send(b"x" * (3 << 20))
        await self.until(lambda: client.messages)
        self.assertEqual(len(client.messages[0]), 3 << 20)

    async def test_a_defect_closes_the_socket(self) -> None:
        client = await self.connect()
        client.sendMessage(b"fail")
        self.assertEqual((await client.ended)[1], 1011)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_pings_of_a_peer_that_takes_no_answer_are_answered_once(self) -> None:
        client = await self.connect()
        socket = await self.opened()
        client.transport.pauseProducing()
        socket.send(b"x" * (32 << 20))  # more than the kernel takes
        for number in range(50):
            client.sendPing(b"%d" % number)
        await self.until(lambda: socket._ping == b"49")
        client.transport.resumeProducing()
        await self.until(lambda: client.pongs)
        self.assertEqual(client.pongs, [b"49"])
        client.sendPing(b"again")
        await self.until(lambda: client.pongs == [b"49", b"again"])

    async def test_a_message_in_too_many_pieces_is_refused(self) -> None:
        client = await self.connect()
        socket = await self.opened()
        client.beginMessage()
        client.sendMessageFrame(b"x")
        await self.until(lambda: socket.inside_message)
        socket._fragments = FRAGMENT_LIMIT
        client.sendMessageFrame(b"x")
        self.assertEqual((await client.ended)[1], 1009)

    async def test_a_peer_that_is_silent_because_we_do_not_read_is_not_dead(self) -> None:
        client = await self.connect()
        socket = await self.opened()
        client.sendMessage(b"1")  # the echo waits with it
        await self.until(lambda: self.turns)
        for _ in range(2 * WAITING_LIMIT):
            client.sendMessage(b"x")
        await self.until(lambda: socket._intake.is_paused)
        socket.onAutoPingTimeout()
        self.turns.pop().callback(None)
        await self.until(lambda: len(client.messages) == 2 * WAITING_LIMIT + 1)
        self.assertTrue(socket.can_send)
        socket.onAutoPingTimeout()
        await client.ended
        self.assertFalse(socket.can_send)

    async def test_stopping_does_not_wait_for_a_peer_that_does_not_answer(self) -> None:
        client = await self.connect()
        client.transport.pauseProducing()
        await self.sockets.close_all()
        await self.until(lambda: self.conversations[0].closings)
        client.transport.resumeProducing()
        await client.ended

    async def test_what_a_client_sends_wrongly_is_not_quoted(self) -> None:
        with capturedLogs() as events:
            with self.assertRaises(ConnectionRefusedError):
                await connect(self.port, "/ws/echo", headers={"Sec-WebSocket-Protocol": "a-secret, a-secret"})
            client = await self.connect()
            client.sendPong(b"a secret")
            client.sendMessage(b"\xff a secret")
            self.assertEqual((await client.ended)[1], 1007)
        self.assertNotIn("secret", "\n".join(map(formatEvent, events)))

    async def test_stopping_closes_all(self) -> None:
        clients = [await self.connect() for _ in range(3)]
        await self.sockets.close_all()
        self.assertEqual([(await each.ended)[1] for each in clients], [1001] * 3)
        self.assertEqual(self.groups, [])

    async def test_only_so_many_for_each_client(self) -> None:
        clients = [await self.connect() for _ in range(3)]
        with self.assertRaises(ConnectionRefusedError) as caught:
            await self.connect()
        self.assertIn("429", str(caught.exception))
        clients[0].sendClose(1000)
        await clients[0].ended
        await self.until(lambda: len(self.groups) == 2)
        await self.connect()

    async def test_origins(self) -> None:
        own = f"https://127.0.0.1:{self.port}"
        for origin in (None, own, "https://friend.example"):
            client = await self.connect(origin)
            client.sendClose(1000)
            await client.ended
        for origin in ("null", "https://evil.example", f"http://127.0.0.1:{self.port}", own + ".evil.example"):
            with self.assertRaises(ConnectionRefusedError) as caught:
                await self.connect(origin)
            self.assertIn("403", str(caught.exception))
        self.assertEqual(self.groups, [])

    async def opened(self) -> Socket:
        await self.until(lambda: self.conversations)
        socket = self.conversations[0].socket
        assert socket is not None
        return socket
