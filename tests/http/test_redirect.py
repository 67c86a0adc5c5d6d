import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from appliance.http.redirect import (
    DRAIN_LIMIT,
    DRAIN_SECONDS,
    HEAD_LIMIT,
    HEAD_SECONDS,
    RedirectFactory,
    RedirectProtocol,
    answer,
)
from tests.support.listening import ListeningTestCase, connect, reactor


def status(response: bytes) -> int:
    return int(response.split(b" ")[1])


def location(head: bytes, https_port: int = 8443) -> str:
    found = re.search(rb"\r\nLocation: (.*)\r\n", answer(head, https_port))
    assert found is not None
    return found[1].decode("ascii")


class TestAnswer:
    @pytest.mark.parametrize(
        ("host", "target", "expected"),
        [
            (b"box.example", b"/", "https://box.example:8443/"),
            (b"box.example:8080", b"/a/b?c=d&e=%2F", "https://box.example:8443/a/b?c=d&e=%2F"),
            (b"192.0.2.1:80", b"/", "https://192.0.2.1:8443/"),
            (b"[2001:db8::1]", b"/x", "https://[2001:db8::1]:8443/x"),
            (b"[::1]:80", b"/x", "https://[::1]:8443/x"),
            (b"box", b"//elsewhere.example/x", "https://box:8443//elsewhere.example/x"),
            (b"box", b"/..%00/%zz?", "https://box:8443/..%00/%zz?"),
        ],
    )
    def test_keeps_host_path_and_query(self, host: bytes, target: bytes, expected: str) -> None:
        assert location(b"GET " + target + b" HTTP/1.1\r\nHost: " + host) == expected

    def test_bears_the_security_headers_but_hsts(self) -> None:
        for head in (b"GET /x?token=t HTTP/1.1\r\nHost: box", b"junk"):
            lines = answer(head, 443).split(b"\r\n")
            assert {b"X-Frame-Options: deny", b"Referrer-Policy: no-referrer"} < set(lines)
            assert any(line.startswith(b"Content-Security-Policy: ") for line in lines)
            assert not any(line.lower().startswith(b"strict-transport-security") for line in lines)

    def test_leaves_out_the_usual_port(self) -> None:
        assert location(b"GET /x HTTP/1.1\r\nHost: box:80", 443) == "https://box/x"

    @pytest.mark.parametrize("method", [b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"M-SEARCH"])
    def test_serves_every_method(self, method: bytes) -> None:
        assert location(method + b" /x HTTP/1.1\r\nHost: box") == "https://box:8443/x"

    def test_serves_http_1_0_and_bare_line_feeds(self) -> None:
        assert location(b"GET /x HTTP/1.0\nhost:box\nAccept:  */* ") == "https://box:8443/x"

    def test_takes_the_authority_of_an_absolute_target(self) -> None:
        assert location(b"GET http://box:80/x HTTP/1.1\r\nHost: other") == "https://box:8443/x"
        assert location(b"GET http://box HTTP/1.0") == "https://box:8443/"

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"GET",
            b"GET /x",
            b"GET /x HTTP/2\r\nHost: box",
            b"GET /x HTTP/1.1",
            b"GET /x HTTP/1.0",
            b"GET /x HTTP/1.1\r\nHost:",
            b"GET /x HTTP/1.1\r\nHost: a\r\nHost: a",
            b"GET /x HTTP/1.1\r\nHost: a..b",
            b"GET /x HTTP/1.1\r\nHost: " + b"a" * 64,
            b"GET /x HTTP/1.1\r\nHost: a/b",
            b"GET /x HTTP/1.1\r\nHost: user@box",
            b"GET /x HTTP/1.1\r\nHost: box:port",
            b"GET /x HTTP/1.1\r\nHost: a b",
            b"GET /x HTTP/1.1\r\nHost: b\xc3\xb6x",
            b"GET /x HTTP/1.1\r\nHost : box",
            b"GET /x HTTP/1.1\r\nHost: box\r\n continued",
            b"GET /x HTTP/1.1\r\nHost: box\r\nno colon",
            b"GET /x HTTP/1.1\r\nHost: box\r\nX: a\x00b",
            b"GET /x HTTP/1.1\r\nHost: box\r\nX: a\rb",
            b"GET /x\ry HTTP/1.1\r\nHost: box",
            b"GET /\xff HTTP/1.1\r\nHost: box",
            b"GET  /x HTTP/1.1\r\nHost: box",
            b"GET x HTTP/1.1\r\nHost: box",
            b"OPTIONS * HTTP/1.1\r\nHost: box",
            b"CONNECT box:443 HTTP/1.1\r\nHost: box",
            b"GET http://user@box/ HTTP/1.1\r\nHost: box",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ],
    )
    def test_refuses_what_is_malformed(self, head: bytes) -> None:
        response = answer(head, 8443)

        assert status(response) == 400
        assert b"Location" not in response

    @given(st.binary(max_size=60), st.binary(max_size=30), st.binary(max_size=30))
    def test_puts_nothing_of_the_client_beside_the_location(self, target: bytes, host: bytes, more: bytes) -> None:
        response = answer(b"GET /" + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nX: " + more, 443)

        names = [line.partition(b":")[0] for line in response.split(b"\r\n")[1:]]
        headers = [b"X-Frame-Options", b"X-Content-Type-Options", b"Referrer-Policy", b"Content-Security-Policy"]
        location = [] if status(response) == 400 else [b"Location"]
        assert names == [*headers, *location, b"Content-Length", b"Connection", b"", b""]
        assert re.search(rb"[\x80-\xff]|\r(?!\n)|(?<!\r)\n", response) is None


class HalfClosable(StringTransport):
    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = HalfClosable()
        self.protocol = RedirectProtocol(self.clock, 8443)
        self.protocol.makeConnection(self.transport)

    def test_answers_a_request_that_comes_in_pieces(self) -> None:
        for each in b"GET /x HTTP/1.1\r\nHost: box\r\n\r":
            self.protocol.dataReceived(bytes([each]))
        self.assertEqual(self.transport.value(), b"")

        self.protocol.dataReceived(b"\n")

        self.assertIn(b"Location: https://box:8443/x\r\n", self.transport.value())
        self.assertTrue(self.transport.half_closed)

    def test_answers_once(self) -> None:
        self.protocol.dataReceived(b"GET /x HTTP/1.1\r\nHost: box\r\n\r\n" * 3)
        self.protocol.dataReceived(b"GET /y HTTP/1.1\r\nHost: box\r\n\r\n")

        self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1)

    def test_a_slow_head_is_cut_off_however_it_comes(self) -> None:
        for _ in range(int(HEAD_SECONDS)):
            self.assertFalse(self.transport.disconnected)
            self.protocol.dataReceived(b"G")
            self.clock.advance(1)

        self.assertTrue(self.transport.disconnected)

    def test_a_large_head_is_refused(self) -> None:
        self.protocol.dataReceived(b"GET /" + b"x" * HEAD_LIMIT)

        self.assertEqual(status(self.transport.value()), 431)

    def test_a_body_is_dropped_up_to_a_limit(self) -> None:
        self.protocol.dataReceived(b"POST /x HTTP/1.1\r\nHost: box\r\nContent-Length: 9999999\r\n\r\n")
        self.protocol.dataReceived(b"x" * DRAIN_LIMIT)
        self.assertFalse(self.transport.disconnected)

        self.protocol.dataReceived(b"x")

        self.assertTrue(self.transport.disconnected)

    def test_a_client_that_stays_is_dropped(self) -> None:
        self.protocol.dataReceived(b"GET /x HTTP/1.1\r\nHost: box\r\n\r\n")

        self.clock.advance(DRAIN_SECONDS)

        self.assertTrue(self.transport.disconnected)

    def test_leaves_no_timer(self) -> None:
        self.protocol.connectionLost()

        self.assertEqual(self.clock.getDelayedCalls(), [])


class SocketTests(ListeningTestCase):
    async def test_curl_is_sent_on(self) -> None:
        port = self.listen(RedirectFactory(reactor, 8443))

        def curl(*options: str) -> str:
            argv = ["curl", "--silent", "--noproxy", "*", "--max-time", "20", "--output", "/dev/null"]
            written = ["--write-out", "%{http_code} %{redirect_url}", f"http://127.0.0.1:{port}/a?b=c"]
            return subprocess.run([*argv, *options, *written], capture_output=True, check=True).stdout.decode()

        expected = "308 https://127.0.0.1:8443/a?b=c"
        self.assertEqual(await self.in_thread(curl), expected)
        self.assertEqual(await self.in_thread(curl, "--head"), expected)
        self.assertEqual(await self.in_thread(curl, "--data", "x" * 100_000), expected)
        self.assertEqual(await self.in_thread(curl, "--header", "Host: a..b"), "400 ")

    async def test_the_answer_ends_the_connection(self) -> None:
        port = self.listen(RedirectFactory(reactor, 8443))

        def visit() -> bytes:
            with connect(port) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
                received = b""
                while data := client.recv(1000):
                    received += data
                return received

        self.assertEqual(status(await self.in_thread(visit)), 308)
