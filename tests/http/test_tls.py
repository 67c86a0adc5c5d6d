import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Site

import appliance.http.tls
from appliance.http.certificates import CertificateError, Pair, Reason, make_self_signed
from appliance.http.tls import CertificateStore, machine_addresses, machine_names, make_context
from tests.support.authority import issue, rsa_key
from tests.support.listening import ListeningTestCase, accepted, connect, echo_factory, reactor

NOW = datetime.now(UTC)


def new_pair(name: str = "box") -> Pair:
    issued = issue(name, now=NOW)
    return Pair(issued.pem, issued.key_pem)


def mixed_pair() -> Pair:
    """A certificate with the key of another."""
    return Pair(new_pair().certificate_pem, new_pair().key_pem)


def handshake(port: int, session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """A TLS connection that takes any certificate."""
    context = context or client_context()
    return context.wrap_socket(connect(port), server_hostname="localhost", session=session)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown_fingerprint(port: int) -> str:
    with handshake(port) as connection:
        return fingerprint_of(connection)


def fingerprint_of(connection: ssl.SSLSocket) -> str:
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha256(der).digest().hex(":").upper()


def s_client(port: int, *options: str) -> str:
    """What `openssl s_client` prints."""
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)
    return (done.stdout + done.stderr).decode(errors="replace")


class StoreTestCase(ListeningTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tls-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "tls" / "server.pem"
        self.logged: list[str] = []
        observer = cast(ILogObserver, self._observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: LogEvent) -> None:
        self.logged.append(event["log_level"].name)

    def store(self, now: Callable[[], datetime] = lambda: NOW) -> CertificateStore:
        return CertificateStore(reactor, self.file, now)

    def serve(self) -> tuple[CertificateStore, int]:
        store = self.store()
        store.start_now()
        return store, self.listen(store.wrap(echo_factory()))


class StartTests(StoreTestCase):
    def test_makes_a_pair_for_this_machine(self) -> None:
        pair = self.store().start_now()

        self.assertTrue(pair.made_here)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.file.parent.stat().st_mode & 0o777, 0o700)
        self.assertEqual(Pair.from_bundle(self.file.read_bytes()), pair)

    def test_keeps_it_over_a_restart(self) -> None:
        self.assertEqual(self.store().start_now(), self.store().start_now())

    def test_serves_an_installed_pair_after_a_restart(self) -> None:
        store = self.store()
        store.start_now()
        pair = new_pair()
        store.install_now(pair)

        self.assertEqual(self.store().start_now(), pair)

    def test_serves_an_installed_pair_that_has_ended(self) -> None:
        store = self.store()
        store.start_now()
        pair = new_pair()
        store.install_now(pair)

        self.assertEqual(self.store(lambda: NOW + timedelta(days=1000)).start_now(), pair)

    def test_sets_a_damaged_file_aside(self) -> None:
        pair = self.store().start_now()
        half = self.file.read_bytes()[:200]
        self.file.write_bytes(half)

        replacement = self.store().start_now()

        self.assertNotEqual(replacement, pair)
        self.assertEqual(self.file.with_name("server.pem.broken").read_bytes(), half)
        self.assertIn("critical", self.logged)

    def test_renews_its_own_pair_before_it_ends(self) -> None:
        pair = self.store().start_now()
        month_before = pair.certificate.not_valid_after_utc - timedelta(days=29)

        renewed = self.store(lambda: month_before).start_now()

        self.assertNotEqual(renewed, pair)
        self.assertGreater(renewed.certificate.not_valid_after_utc, month_before + timedelta(days=800))

    def test_renews_its_own_pair_when_the_clock_was_ahead(self) -> None:
        pair = self.store(lambda: NOW + timedelta(days=3000)).start_now()

        self.assertNotEqual(self.store().start_now(), pair)

    def test_removes_what_a_crash_left_behind(self) -> None:
        self.file.parent.mkdir()
        leftover = self.file.with_name(".server.pem.0123456789ab.tmp")
        leftover.write_bytes(b"half a key")

        self.store().start_now()

        self.assertEqual(os.listdir(self.file.parent), ["server.pem"])

    def test_has_no_pair_before_the_start(self) -> None:
        with self.assertRaises(RuntimeError):
            _ = self.store().pair

    def test_knows_the_machine(self) -> None:
        self.assertIn(socket.gethostname(), machine_names())
        self.assertIn("127.0.0.1", machine_addresses())


class InstallTests(StoreTestCase):
    async def test_new_handshakes_show_it_and_open_connections_go_on(self) -> None:
        store, port = self.serve()
        before = store.pair.fingerprint
        connection = await self.in_thread(handshake, port)
        self.addCleanup(connection.close)
        pair = new_pair()

        await store.install(pair)

        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)
        self.assertEqual(fingerprint_of(connection), before)

        def exchange() -> bytes:
            connection.sendall(b"still here")
            return connection.recv(100)

        self.assertEqual(await self.in_thread(exchange), b"still here")
        self.assertEqual(Pair.from_bundle(self.file.read_bytes()), pair)

    async def test_a_handshake_begun_before_ends_with_the_old(self) -> None:
        store, port = self.serve()
        before = store.pair.fingerprint
        plain = await self.in_thread(connect, port)
        self.addCleanup(plain.close)
        await self.until(accepted)

        await store.install(new_pair())

        connection = await self.in_thread(lambda: client_context().wrap_socket(plain, server_hostname="box"))
        self.addCleanup(connection.close)
        self.assertEqual(fingerprint_of(connection), before)

    async def test_what_openssl_refuses_changes_nothing(self) -> None:
        store, port = self.serve()
        pair, content = store.pair, self.file.read_bytes()

        with self.assertRaises(CertificateError) as caught:
            await store.install(mixed_pair())

        self.assertEqual(caught.exception.reason, Reason.REFUSED)
        self.assertEqual(store.pair, pair)
        self.assertEqual(self.file.read_bytes(), content)
        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)

    async def test_what_cannot_be_written_changes_nothing(self) -> None:
        store, port = self.serve()
        pair = store.pair

        self.patch(os, "fsync", mock.Mock(side_effect=OSError(28, "no space")))
        with self.assertRaises(OSError):
            await store.install(new_pair())

        self.assertEqual(store.pair, pair)
        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)
        self.assertEqual(self.store().start_now(), pair)

    async def test_goes_on_when_its_caller_is_cancelled(self) -> None:
        store, port = self.serve()
        pair = new_pair()
        waiting = Deferred.fromCoroutine(store.install(pair))
        waiting.cancel()

        with self.assertRaises(CancelledError):
            await waiting
        await self.until(lambda: store.pair == pair)
        self.assertEqual(Pair.from_bundle(self.file.read_bytes()), pair)
        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)

    async def test_serves_the_chain(self) -> None:
        store, port = self.serve()
        root = issue("root", ca=True, now=NOW)
        middle = issue("middle", root, ca=True, now=NOW)
        leaf = issue("localhost", middle, now=NOW)
        await store.install(Pair(leaf.pem, leaf.key_pem, middle.pem))
        trusted = self.folder / "root.pem"
        trusted.write_bytes(root.pem)

        output = await self.in_thread(
            s_client, port, "-CAfile", str(trusted), "-verify_hostname", "localhost", "-verify_return_error"
        )

        self.assertIn("Verification: OK", output)

    async def test_serves_rsa(self) -> None:
        store, port = self.serve()
        issued = issue("box", key=rsa_key(2048), now=NOW)
        pair = Pair(issued.pem, issued.key_pem)

        await store.install(pair)

        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)
        self.assertIn("ECDHE-RSA-", await self.in_thread(s_client, port, "-tls1_2"))


class CrashTests(StoreTestCase):
    def test_a_kill_while_installing_leaves_the_old_or_the_new(self) -> None:
        """The process is killed on reaching each step of the replacement."""
        for step, expected in {
            "os.fdopen": "old",
            "os.fchmod": "old",
            "os.fsync": "old",
            "os.rename": "old",
            "appliance.files.fsync_directory": "new",
            "appliance.http.tls.CertificateStore._swap": "new",
        }.items():
            with self.subTest(step=step):
                shutil.rmtree(self.file.parent, ignore_errors=True)
                old, new = self.store().start_now(), new_pair()

                killed = subprocess.run(
                    [sys.executable, "-c", INSTALL_AND_DIE, str(self.file), step],
                    env={"PYTHONPATH": os.pathsep.join(sys.path)},
                    input=new.bundle,
                    check=False,
                )

                self.assertEqual(killed.returncode, -signal.SIGKILL)
                self.assertEqual(self.store().start_now(), {"old": old, "new": new}[expected])
                self.assertEqual(os.listdir(self.file.parent), ["server.pem"])


INSTALL_AND_DIE = """
import os, pathlib, signal, sys
from unittest import mock
from twisted.internet.task import Clock
from appliance.http.certificates import Pair
from appliance.http.tls import CertificateStore

store = CertificateStore(Clock(), pathlib.Path(sys.argv[1]))
store.start_now()
with mock.patch(sys.argv[2], lambda *arguments, **keywords: os.kill(os.getpid(), signal.SIGKILL)):
    store.install_now(Pair.from_bundle(sys.stdin.buffer.read()))
"""


class ReloadTests(StoreTestCase):
    async def test_takes_what_stands_in_the_file(self) -> None:
        store, port = self.serve()
        pair = new_pair()
        self.file.write_bytes(pair.bundle)

        self.assertTrue(await store.reload())

        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)

    async def test_the_same_again_is_no_change(self) -> None:
        store, _ = self.serve()
        context = store.serverConnectionForTLS(mock.Mock()).get_context()

        self.assertFalse(await store.reload())

        self.assertIs(store.serverConnectionForTLS(mock.Mock()).get_context(), context)

    async def test_what_cannot_be_used_changes_nothing(self) -> None:
        store, port = self.serve()
        pair = store.pair
        for content in (b"", pair.bundle[:300], pair.certificate_pem, b"x" * (1 << 20)):
            self.file.write_bytes(content)
            with self.assertRaises(Exception) as caught:
                await store.reload()
            self.assertIn(type(caught.exception).__name__, ("CertificateError", "FileTooLarge"))
        self.file.unlink()
        with self.assertRaises(FileNotFoundError):
            await store.reload()

        self.assertEqual(store.pair, pair)
        self.assertEqual(await self.in_thread(shown_fingerprint, port), pair.fingerprint)


class WatchTests(StoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = NOW
        self.clock = Clock()
        self.watched = self.store(lambda: self.now)
        self.watched._clock = self.clock
        self.watched.start_now()
        self.watched.watch(5)
        self.addCleanup(self.watched.stop)

    async def look(self) -> None:
        """One look at the file, to its end."""
        self.clock.advance(5)
        await self.until(self.clock.getDelayedCalls)

    async def test_loads_a_changed_file(self) -> None:
        pair = new_pair()
        self.file.write_bytes(pair.bundle)

        await self.look()

        self.assertEqual(self.watched.pair, pair)

    async def test_complains_once_of_a_file_that_cannot_be_used(self) -> None:
        pair = self.watched.pair
        self.file.write_bytes(b"half")

        for _ in range(3):
            await self.look()
        self.assertEqual(self.logged.count("error"), 1)
        self.assertEqual(self.watched.pair, pair)

        self.file.write_bytes((better := new_pair()).bundle)
        await self.look()
        self.assertEqual(self.watched.pair, better)

    async def test_does_not_load_what_it_has_installed_itself(self) -> None:
        await self.watched.install(new_pair())

        with mock.patch.object(self.watched, "reload_now") as reload:
            await self.look()

        reload.assert_not_called()

    async def test_renews_its_own_pair_in_time(self) -> None:
        pair = self.watched.pair
        await self.look()
        self.assertEqual(self.watched.pair, pair)
        self.now = pair.certificate.not_valid_after_utc

        await self.look()

        self.assertNotEqual(self.watched.pair, pair)

    async def test_leaves_an_installed_pair_alone(self) -> None:
        await self.watched.install(pair := new_pair())
        self.now += timedelta(days=5000)

        await self.look()

        self.assertEqual(self.watched.pair, pair)

    async def test_stops(self) -> None:
        await self.watched.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HandshakeTests(StoreTestCase):
    async def test_old_versions_and_weak_suites_are_refused(self) -> None:
        store, port = self.serve()
        everything = "ALL:@SECLEVEL=0"
        cases = {
            "TLS 1.0": ("-tls1", "-cipher", everything),
            "TLS 1.1": ("-tls1_1", "-cipher", everything),
            "CBC": ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA"),
            "RSA key exchange": ("-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA"),
            "finite-field Diffie-Hellman": ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"),
            "no authentication": ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
        }
        issued = issue("box", key=rsa_key(2048), now=NOW)
        for pair in (store.pair, Pair(issued.pem, issued.key_pem)):
            await store.install(pair)
            for case, options in cases.items():
                output = await self.in_thread(s_client, port, *options)
                with self.subTest(case=case):
                    self.assertIn("alert", output)
                    self.assertIn("Cipher is (NONE)", output)

    async def test_current_versions_are_served(self) -> None:
        _, port = self.serve()

        self.assertIn("TLSv1.2, Cipher is ECDHE-ECDSA-", await self.in_thread(s_client, port, "-tls1_2"))
        self.assertIn("TLSv1.3, Cipher is TLS_", await self.in_thread(s_client, port, "-tls1_3"))

    async def test_agrees_on_http_1_1_only(self) -> None:
        _, port = self.serve()

        both = await self.in_thread(s_client, port, "-alpn", "h2,http/1.1")
        other = await self.in_thread(s_client, port, "-alpn", "h2,acme-tls/1")
        none = await self.in_thread(s_client, port)

        self.assertIn("ALPN protocol: http/1.1", both)
        self.assertIn("alert no application protocol", other)
        self.assertIn("Cipher is (NONE)", other)
        self.assertIn("No ALPN negotiated", none)
        self.assertIn("Cipher is TLS_", none)

    async def test_does_not_offer_what_the_site_would(self) -> None:
        store = self.store()
        store.start_now()
        site = Site(Resource())
        self.patch(site, "acceptableProtocols", lambda: [b"h2", b"http/1.1"])
        port = self.listen(store.wrap(site))

        self.assertIn("http/1.1", await self.in_thread(s_client, port, "-alpn", "h2,http/1.1"))
        self.assertIn("alert no application", await self.in_thread(s_client, port, "-alpn", "h2"))

    async def test_sessions_resume_by_ticket_until_the_certificate_changes(self) -> None:
        store, port = self.serve()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context()
            context.minimum_version = context.maximum_version = version

            def visit(
                session: ssl.SSLSession | None, context: ssl.SSLContext = context
            ) -> tuple[bool | None, ssl.SSLSession | None]:
                with handshake(port, session, context) as connection:
                    connection.sendall(b"x")
                    connection.recv(1)  # TLS 1.3 sends its tickets after the handshake
                    return connection.session_reused, connection.session

            with self.subTest(version=version.name):
                reused, session = await self.in_thread(visit, None)
                self.assertFalse(reused)
                reused, _ = await self.in_thread(visit, session)
                self.assertTrue(reused)
                await store.install(new_pair())
                reused, _ = await self.in_thread(visit, session)
                self.assertFalse(reused)

    async def test_garbage_ends_the_connection_quietly(self) -> None:
        _, port = self.serve()

        def send() -> bytes:
            with connect(port) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
                answer = b""
                while data := plain.recv(1000):
                    answer += data
                return answer

        self.assertNotIn(b"HTTP", await self.in_thread(send))
        self.assertEqual(self.flushLoggedErrors(), [])


class CurlTests(StoreTestCase):
    async def test_curl_trusts_the_self_signed_certificate(self) -> None:
        class Page(Resource):
            isLeaf = 1

            def render_GET(self, request: object) -> bytes:
                return b"it works"

        store = self.store()
        trusted = self.folder / "trusted.pem"
        trusted.write_bytes(store.start_now().certificate_pem)
        port = self.listen(store.wrap(Site(Page())))

        def curl(url: str) -> subprocess.CompletedProcess[bytes]:
            argv = ["curl", "--silent", "--noproxy", "*", "--max-time", "20", "--cacert", str(trusted), url]
            return subprocess.run(argv, capture_output=True, check=False)

        for host in ("127.0.0.1", "localhost"):
            done = await self.in_thread(curl, f"https://{host}:{port}/")
            self.assertEqual((done.returncode, done.stdout), (0, b"it works"))

        await store.install(new_pair("localhost"))
        done = await self.in_thread(curl, f"https://localhost:{port}/")
        self.assertEqual(done.returncode, 60, "a certificate that is not the trusted one")


class ContextTests(StoreTestCase):
    def test_tells_why_openssl_refuses(self) -> None:
        with self.assertRaisesRegex(CertificateError, "mismatch"):
            make_context(mixed_pair())

    def test_takes_its_own_self_signed_pair(self) -> None:
        make_context(make_self_signed(["box"], [], NOW))

    def test_names_no_suite_without_forward_secrecy(self) -> None:
        for suite in appliance.http.tls.CIPHERS.split(":"):
            self.assertRegex(suite, r"^ECDHE-.*(GCM|POLY1305)")
