"""Who may speak on a WebSocket and for how long, over real sockets with Autobahn's client."""

import gc
import weakref
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from appliance.host.errors import Conflict
from appliance.identity.nss import Account
from appliance.system.live.messages import Incoming
from tests.support.listening import reactor
from tests.support.live import LIMIT, NOW, LiveTestCase, account


class Place(msgspec.Struct):
    row: int


class Placed(msgspec.Struct):
    payload: Place


class Unanswering(dict[str, Account]):
    """A name service that does not answer."""

    def get(self, *args: object) -> Any:
        raise OSError("no answer")


class SessionTests(LiveTestCase):
    async def test_a_token_in_the_payload_or_beside_it(self) -> None:
        for fields in ({"payload": {"token": self.token("bob")}}, {"token": self.token("bob")}):
            client = await self.connect()
            client.say("auth", id=7, **fields)
            (answer,) = await self.heard(client, 1)
            self.assertEqual(answer, {"type": "auth", "payload": {"authenticated": True, "username": "bob"}, "id": 7})

    async def test_an_api_token(self) -> None:
        text, _ = await self.api_tokens.create("ann", "watcher")
        client = await self.connect()
        client.say("auth", token=text.reveal())
        (answer,) = await self.heard(client, 1)
        self.assertEqual(answer["payload"]["username"], "ann")

    async def test_a_token_in_the_header(self) -> None:
        client = await self.connect(headers={"Authorization": f"Bearer {self.token('ann')}"})
        client.say("ping", id="a")
        self.assertEqual(await self.heard(client, 1), [{"type": "pong", "id": "a"}])
        self.assertIn('"caller":"ann"', self.log())

    async def test_a_wrong_token_in_the_header_is_refused_before_the_upgrade(self) -> None:
        for value in ("Bearer wrong", "Basic YTpi", f"Bearer {self.token('nobody')}", ""):
            with self.assertRaises(ConnectionRefusedError) as caught:
                await self.connect(headers={"Authorization": value})
            self.assertIn("401", str(caught.exception))
        self.assertIn('"status":401', self.log())

    async def test_before_auth_nothing_else_counts(self) -> None:
        client = await self.connect()
        for type in ("subscribe", "unsubscribe", "input", "resize", "ping"):
            client.say(type, id=type)
        answers = await self.heard(client, 5)
        self.assertEqual({answer["error"] for answer in answers}, {"Not authenticated"})
        self.assertEqual([answer["id"] for answer in answers], ["subscribe", "unsubscribe", "input", "resize", "ping"])
        self.assertEqual(answers[0]["payload"], {"message": "Not authenticated", "code": answers[0]["code"]})
        client.say("auth", token=self.token("ann"))
        await self.heard(client, 6)
        self.assertEqual(self.channels[0].seen, [])

    async def test_messages_behind_auth_wait_for_its_outcome(self) -> None:
        client = await self.connect()
        client.say("auth", token=self.token("ann"))  # the account is looked up in a thread
        client.say("subscribe")
        client.say("ping")
        answers = await self.heard(client, 2)
        self.assertEqual([answer["type"] for answer in answers], ["auth", "pong"])
        self.assertEqual(self.channels[0].seen, ["subscribe"])

    async def test_a_wrong_token_has_one_try(self) -> None:
        wrong: list[dict[str, object]] = [
            {"token": "wrong"},
            {"token": ""},
            {},
            {"token": 5},
            {"payload": []},
            {"token": self.token("nobody")},
        ]
        for fields in wrong:
            client = await self.connect()
            client.say("auth", **fields)
            client.say("auth", token=self.token("ann"))
            client.say("subscribe")
            self.assertEqual((await client.ended)[1], 4401)
            self.assertEqual([answer["code"] for answer in client.heard], ["AUTH_FAILED"])
        self.assertEqual(self.channels, [])

    async def test_ten_seconds_to_say_auth(self) -> None:
        client = await self.connect()
        idle = await self.connect()
        client.say("ping")
        await self.heard(client, 1)
        await self.pass_time(9.5)
        client.say("auth", token=self.token("ann"))
        await self.heard(client, 2)
        await self.pass_time(1)
        self.assertEqual((await idle.ended)[1], 4401)
        self.assertEqual(idle.heard[0]["code"], "AUTH_TIMEOUT")
        client.say("ping")
        await self.heard(client, 3)

    async def test_a_name_service_that_is_down_is_not_a_wrong_token(self) -> None:
        self.users = Unanswering()
        client = await self.connect()
        client.say("auth", token=self.token("ann"))
        self.assertEqual((await client.ended)[1], 1013)
        self.assertEqual(client.heard[0]["code"], "SERVICE_UNAVAILABLE")

    async def test_a_token_expires(self) -> None:
        text, _ = await self.api_tokens.create("ann", "short", NOW + 30)
        first, second = await self.connect(), await self.connect()
        for client in (first, second):
            client.say("auth", token=text.reveal())
            await self.heard(client, 1)
        second.say("auth", token=self.token("ann"))  # a new one in time
        await self.heard(second, 2)
        await self.pass_time(30.5)
        self.assertEqual((await first.ended)[1], 4401)
        self.assertEqual(first.heard[-1]["error"], "The token has expired")
        self.assertEqual(self.channels[0].seen, ["closed"])
        second.say("ping")
        await self.heard(second, 3)

    async def test_an_expired_token_is_refused(self) -> None:
        text, _ = await self.api_tokens.create("ann", "short", NOW + 5)
        self.clock.advance(6)
        client = await self.connect()
        client.say("auth", token=text.reveal())
        self.assertEqual((await client.ended)[1], 4401)

    async def test_another_users_token_is_refused(self) -> None:
        client = await self.authenticated("ann")
        client.say("auth", token=self.token("bob"))
        self.assertEqual((await client.ended)[1], 4401)
        self.assertEqual(client.heard[-1]["code"], "AUTH_FAILED")

    async def test_logging_out_closes_at_once(self) -> None:
        token = self.token("ann")
        client, other = await self.connect(), await self.authenticated("ann")
        client.say("auth", token=token)
        await self.heard(client, 1)
        await self.sessions.end(self.sessions.check(token))
        self.assertEqual((await client.ended)[1], 4401)
        self.assertEqual(self.channels[1].seen, ["revoked", "closed"])
        other.say("ping")
        await self.heard(other, 2)

    async def test_deleting_an_api_token_closes_at_once(self) -> None:
        text, token = await self.api_tokens.create("ann", "watcher")
        client = await self.connect()
        client.say("auth", token=text.reveal())
        await self.heard(client, 1)
        await self.api_tokens.delete(token.id)
        self.assertEqual((await client.ended)[1], 4401)

    async def test_a_locked_account_closes_within_a_minute(self) -> None:
        client = await self.authenticated("ann")
        self.users["ann"] = account("ann", 1000, "sudo", locked=True)
        await self.pass_time(75)
        self.assertEqual((await client.ended)[1], 4401)
        self.assertEqual(self.channels[0].seen, ["revoked", "closed"])

    async def test_a_removed_account_closes_within_a_minute(self) -> None:
        client = await self.authenticated("bob")
        other = await self.authenticated("ann")
        del self.users["bob"]
        await self.pass_time(75)
        self.assertEqual((await client.ended)[1], 4401)
        other.say("ping")
        await self.heard(other, 2)

    async def test_a_demotion_closes_and_a_promotion_does_not(self) -> None:
        ann, bob = await self.authenticated("ann"), await self.authenticated("bob")
        self.users.update(ann=account("ann", 1000), bob=account("bob", 1001, "sudo"))
        await self.pass_time(75)
        self.assertEqual((await ann.ended)[1], 4401)
        self.assertIn("administrator", self.channels[1].peer.caller.roles)
        bob.say("ping")
        await self.heard(bob, 2)

    async def test_a_demotion_is_seen_at_the_next_auth(self) -> None:
        client = await self.authenticated("ann")
        self.users["ann"] = account("ann", 1000)
        self.accounts.forget("ann")
        client.say("auth", payload={"token": self.token("ann")})
        self.assertEqual((await client.ended)[1], 4401)
        self.assertEqual(self.channels[0].seen, ["revoked", "closed"])

    async def test_a_change_of_ours_is_seen_at_once(self) -> None:
        client = await self.authenticated("ann")
        self.users["ann"] = account("ann", 1000, "sudo", locked=True)
        self.accounts.forget("ann")
        self.door.check_user("ann")
        self.assertEqual((await client.ended)[1], 4401)

    async def test_the_account_is_looked_at_before_something_begins(self) -> None:
        client = await self.authenticated("ann")
        self.users["ann"] = account("ann", 1000, "sudo", locked=True)
        self.accounts.forget("ann")
        client.say("subscribe")
        self.assertEqual((await client.ended)[1], 4401)
        self.assertEqual(self.channels[0].seen, ["revoked", "closed"])

    async def test_a_path_for_administrators(self) -> None:
        client = await self.connect("/ws/admin")
        client.say("auth", token=self.token("bob"))
        self.assertEqual((await client.ended)[1], 4403)
        self.assertEqual(client.heard[0]["code"], "PERMISSION_DENIED")
        with self.assertRaises(ConnectionRefusedError) as caught:
            await self.connect("/ws/admin", headers={"Authorization": f"Bearer {self.token('bob')}"})
        self.assertIn("403", str(caught.exception))
        await self.authenticated("ann", "/ws/admin")

    async def test_what_cannot_be_read_is_an_error_and_no_more(self) -> None:
        client = await self.authenticated()
        bad = [b"", b"{", b"[]", b"null", b'{"type":"fly"}', b'{"type":1}', b"{}", b"[" * 20_000, b"plain text"]
        bad.append(b'{"type":"ping","id":"%b"}' % (b"x" * 129))
        for message in bad:
            client.sendMessage(message)
        answers = await self.heard(client, 1 + len(bad))
        self.assertEqual({answer.get("code") for answer in answers[1:]}, {"INVALID_MESSAGE"})
        client.say("ping")
        await self.heard(client, 2 + len(bad))

    async def test_what_a_channel_does_not_know(self) -> None:
        client = await self.authenticated()
        client.say("resize", id=1)
        answer = (await self.heard(client, 2))[1]
        self.assertEqual((answer["code"], answer["id"]), ("NOT_SUPPORTED", 1))

    async def test_what_a_channel_raises(self) -> None:
        client = await self.authenticated()

        async def decode(message: Incoming) -> None:
            message.decode(Placed)
            raise Conflict("it is there already")

        self.channels[0].on_subscribe = decode
        client.say("subscribe", payload={"row": "x"}, id=1)
        client.say("subscribe", payload={"row": 3}, id=2)
        invalid, conflict = (await self.heard(client, 3))[1:]
        self.assertEqual((invalid["code"], invalid["id"]), ("INVALID_INPUT", 1))
        self.assertIn("payload.row", invalid["error"])
        self.assertEqual((conflict["code"], conflict["id"]), ("CONFLICT", 2))

    async def test_a_channel_that_cannot_end_keeps_no_socket_and_nobody_else(self) -> None:
        clients = [await self.authenticated() for _ in range(2)]
        self.channels[0].fails = True
        await self.authenticator.end_all("ann")
        self.assertEqual([(await client.ended)[1] for client in clients], [4401, 4401])
        await self.until(lambda: not self.door._sessions)
        self.assertEqual([channel.seen for channel in self.channels], [["revoked", "closed"]] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    async def test_a_channel_that_fails_closes_its_socket(self) -> None:
        client, other = await self.authenticated(), await self.authenticated()

        async def fail(message: Incoming) -> None:
            raise RuntimeError("as the test wants")

        self.channels[0].on_subscribe = fail
        client.say("subscribe")
        self.assertEqual((await client.ended)[1], 1011)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        other.say("ping")
        await self.heard(other, 2)

    async def test_binary_messages_and_large_ones_close(self) -> None:
        clients = [await self.authenticated() for _ in range(3)]
        clients[0].sendMessage(b"\xff\x00garbage", isBinary=True)
        clients[1].sendMessage(b"x" * (2 << 20))
        self.assertEqual([(await client.ended)[1] for client in clients[:2]], [1003, 1009])
        clients[2].say("ping")
        await self.heard(clients[2], 2)

    async def test_a_flood_is_answered_slowly_and_touches_nobody_else(self) -> None:
        flooder, other = await self.authenticated(), await self.authenticated()
        for _ in range(5000):
            flooder.say("ping")
        for _ in range(20):
            other.say("ping")
            await self.heard(other, len(other.messages) + 1)
        self.assertLess(len(flooder.messages), 4000)
        await self.heard(flooder, 5001)

    async def test_a_flooder_who_reads_nothing_is_not_read(self) -> None:
        client = await self.authenticated()
        client.transport.pauseProducing()
        peer = self.channels[0].peer
        while not peer.slow:
            peer.send(b'"' + b"x" * 100_000 + b'"')
        for _ in range(20_000):
            client.say("ping")
        (socket,) = self.open_sockets
        await self.until(lambda: socket._intake.is_paused)
        await self.settle()
        self.assertLess(len(socket._waiting), 1000)
        self.assertLess(len(socket._intake._unread), 1 << 18)
        client.transport.abortConnection()
        await self.until(lambda: not self.open_sockets)

    async def test_so_many_sockets_for_each_address(self) -> None:
        clients = [await self.connect() for _ in range(LIMIT)]
        with self.assertRaises(ConnectionRefusedError) as caught:
            await self.connect()
        self.assertIn("429", str(caught.exception))
        clients[0].transport.abortConnection()
        await self.until(lambda: self.door.open < LIMIT)
        await self.connect()

    async def test_origins(self) -> None:
        for origin in (None, f"https://127.0.0.1:{self.port}", "https://friend.example"):
            (await self.connect(origin=origin)).transport.abortConnection()
        for origin in ("null", "https://evil.example", f"http://127.0.0.1:{self.port}"):
            with self.assertRaises(ConnectionRefusedError) as caught:
                await self.connect(origin=origin, headers={"Authorization": f"Bearer {self.token('ann')}"})
            self.assertIn("403", str(caught.exception))

    async def test_the_server_stops(self) -> None:
        client, waiting = await self.authenticated(), await self.connect()
        stopping: Deferred[None] = Deferred.fromCoroutine(self.door.stop())
        self.assertEqual((await client.ended)[1], 1001)
        self.assertEqual((await waiting.ended)[1], 1001)
        await stopping
        self.assertEqual(self.channels[0].seen, ["closed"])
        with self.assertRaises(ConnectionRefusedError) as caught:
            await self.connect()
        self.assertIn("503", str(caught.exception))

    async def test_the_log_tells_of_opening_and_end_and_nothing_of_what_was_said(self) -> None:
        token = self.token("ann")
        client = await self.connect(f"/ws/test?token={token}")
        client.say("auth", token=token)
        await self.heard(client, 1)
        client.say("input", data="a secret that is typed")
        client.say("subscribe")
        await self.until(lambda: self.channels and self.channels[0].seen == ["input", "subscribe"])
        client.sendClose(4000)
        await client.ended
        await self.until(lambda: self.channels[0].seen[-1] == "closed")
        opened, ended = map(msgspec.json.decode, self.log().splitlines())
        self.assertEqual((opened["type"], opened["status"], opened["path"]), ("access", 101, "/ws/test"))
        self.assertEqual((ended["type"], ended["status"], ended["path"]), ("websocket", 4000, "/ws/test"))
        self.assertEqual((ended["caller"], ended["request"]), ("ann", opened["request"]))
        self.assertGreater(ended["bytes"], 50)
        for secret in (token, "secret"):
            self.assertNotIn(secret, self.log())

    async def test_nothing_is_left_of_a_handshake_that_fails(self) -> None:
        for _ in range(2 * LIMIT):
            with self.assertRaises(ConnectionRefusedError):
                await self.connect(headers={"Sec-WebSocket-Protocol": "a, a"})
        await self.until(lambda: not reactor.getDelayedCalls() or self.door.open == 0)
        await self.connect()

    async def test_nothing_is_left_of_sockets_that_have_gone(self) -> None:
        gc.collect()
        gc.disable()  # what waited for it would scatter over the heap, and keep it from shrinking
        self.addCleanup(gc.enable)
        known: list[weakref.ref[Any]] = []
        for leave in ("close", "abort", "wrong token", "too large", "no farewell"):
            client = await self.connect()
            known += [weakref.ref(each) for each in (*self.open_sockets, *self.door._sessions)]
            client.say("auth", token="wrong" if leave == "wrong token" else self.token("ann"))
            await self.heard(client, 1)
            if leave == "close":
                client.say("subscribe")
                client.sendClose(1000)
            elif leave == "too large":
                client.sendMessage(b"x" * (2 << 20))
            elif leave == "abort":
                client.transport.abortConnection()
            elif leave == "no farewell":
                next(iter(self.open_sockets)).close(1000, "this is not answered")
                client.transport.abortConnection()
            await client.ended
            await self.until(lambda: self.door.open == 0)
            del client
        self.channels.clear()
        await self.settle()
        self.assertEqual([reference() for reference in known], [None] * 10)
