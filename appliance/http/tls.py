"""TLS for any stream endpoint, with a certificate that can be replaced while connections are open."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import psutil
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorThreads,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from appliance.files import FileTooLarge, NotARegularFile, read_limited, remove_temporaries, replace, write_atomic
from appliance.http.certificates import INPUT_LIMIT, CertificateError, Pair, Reason, make_self_signed
from appliance.http.tls_transport import TLSTransport
from appliance.threads import Threads

PROTOCOL = b"http/1.1"
CIPHERS = ":".join((
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
))  # fmt: skip
"""The TLS 1.2 suites with forward secrecy and authenticated encryption (RFC 9325, 4.2), cheapest first."""
CIPHERS_13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
RENEW_BEFORE = timedelta(days=30)
_FILE_LIMIT = 2 * INPUT_LIMIT

Stamp = tuple[int, int, int]


class NoCommonProtocol(SSL.Error):
    """The client named protocols by ALPN and `http/1.1` is not among them."""

    def __init__(self) -> None:
        super().__init__([("SSL routines", "", "no application protocol")])


@dataclass(frozen=True)
class _InForce:
    pair: Pair
    context: SSL.Context
    stamp: Stamp | None


@implementer(IOpenSSLServerConnectionCreator)
class CertificateStore:
    """
    The certificate in force, kept in one file and served to every new handshake.

    Key, certificate and chain stand in one file, replaced in one rename, so no crash leaves half a pair. A
    replacement is first loaded into OpenSSL, then written, then served: what OpenSSL refuses changes nothing,
    and after a crash between the last two the next start serves it. Open connections keep the context they
    were made with.

    Methods ending in `_now` block for an fsync and may be called from any thread.
    """

    log = Logger()

    def __init__(
        self, reactor: IReactorThreads, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = cast(IReactorTime, reactor)
        self._threads = Threads(reactor)
        self._path = path
        self._now = now
        self._changing = threading.RLock()
        self._in_force: _InForce | None = None
        self._refused: Stamp | None = None
        self._watching: LoopingCall | None = None
        self._watched: Deferred[object] | None = None

    @property
    def pair(self) -> Pair:
        """The pair that new handshakes get. `RuntimeError` before `start_now`."""
        return self._current().pair

    def start_now(self) -> Pair:
        """
        Load the pair from the file, or make a self-signed one for this machine and keep it there.

        A file that cannot be used is set aside as `<name>.broken` and replaced by a self-signed pair too, so
        that an administrator can still get in to install a better one. A self-signed pair that has run out
        is made anew. Raises `OSError` where the folder cannot be read or written.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_temporaries(self._path.parent)  # what a crash left there holds a private key
        try:
            self.reload_now()
        except FileNotFoundError:
            self.renew_now()
        except (CertificateError, FileTooLarge, NotARegularFile) as error:
            aside = self._path.with_name(f"{self._path.name}.broken")
            self.log.critical(
                "{path} cannot be used ({reason}): set aside as {aside}, replaced by a self-signed one",
                path=str(self._path), reason=str(error), aside=str(aside),
            )  # fmt: skip
            replace(self._path, aside)
            self.renew_now()
        else:
            self._renew_if_due()
        return self.pair

    async def install(self, pair: Pair) -> None:
        """
        Put `pair` in force: durable on return, and served by every handshake from then on.

        Raises `CertificateError` where OpenSSL refuses it and `OSError` where it cannot be written; the old
        pair is then still in force. Once begun it is not undone by cancelling.
        """
        await self._threads.run(self.install_now, pair)

    async def reload(self) -> bool:
        """
        Read the file again; whether another pair came into force by it.

        Raises `CertificateError`, `FileTooLarge`, `NotARegularFile` or `OSError`, the old pair then still in
        force.
        """
        return await self._threads.run(self.reload_now)

    def install_now(self, pair: Pair) -> None:
        """`install` for a thread."""
        context = make_context(pair)
        with self._changing:
            write_atomic(self._path, pair.bundle, mode=0o600)
            self._swap(pair, context, self._stamp())

    def reload_now(self) -> bool:
        """`reload` for a thread."""
        with self._changing:
            stamp = self._stamp()
            pair = Pair.from_bundle(read_limited(self._path, _FILE_LIMIT))
            if self._in_force is not None and self._in_force.pair == pair:
                self._in_force = _InForce(pair, self._in_force.context, stamp)
                return False
            self._swap(pair, make_context(pair), stamp)
            return True

    def renew_now(self) -> None:
        """Put a new self-signed pair for the machine's present names and addresses in force; for a thread."""
        self.install_now(make_self_signed(machine_names(), machine_addresses(), self._now()))

    def watch(self, interval: float) -> None:
        """
        From now until `stop`, look every `interval` seconds whether the file has changed and load it if so.

        A changed file that cannot be used is logged once and the old pair stays. A self-signed pair is
        renewed a month before its end.
        """
        self._watching = LoopingCall(self._look)
        self._watching.clock = self._clock
        ended = self._watching.start(interval, now=False)
        self._watched = ended.addErrback(lambda failure: self.log.failure("The watch over it has ended", failure))

    async def stop(self) -> None:
        """End `watch`; returns when nothing of it runs any more."""
        if self._watching is not None and self._watching.running:
            self._watching.stop()
        if self._watched is not None:
            await self._watched
        self._watching = self._watched = None

    def wrap(self, factory: IProtocolFactory) -> TLSMemoryBIOFactory:
        """`factory` behind TLS, to be listened to on any stream endpoint."""
        wrapped = TLSMemoryBIOFactory(self, False, factory, clock=self._clock)
        wrapped.protocol = TLSTransport
        return wrapped

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The OpenSSL side of a new connection, under the context in force now."""
        return SSL.Connection(self._current().context, None)

    async def _look(self) -> None:
        try:
            await self._threads.run(self._look_now)
        except (CertificateError, FileTooLarge, NotARegularFile, OSError) as error:
            self.log.error(
                "{path} cannot be used, the certificate before it stays in force: {reason}",
                path=str(self._path), reason=str(error),
            )  # fmt: skip

    def _look_now(self) -> None:
        stamp = self._stamp()
        if stamp not in (self._current().stamp, self._refused):
            # Remembered first, so that a file that cannot be used is complained of once, not every time.
            self._refused = stamp
            self.reload_now()
            self._refused = None
        self._renew_if_due()

    def _renew_if_due(self) -> None:
        with self._changing:
            pair, now = self.pair, self._now()
            begin, end = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
            if pair.made_here and not begin <= now < end - RENEW_BEFORE:
                self.log.warn("The self-signed certificate ({begin} to {end}) is made anew", begin=begin, end=end)
                self.renew_now()

    def _swap(self, pair: Pair, context: SSL.Context, stamp: Stamp | None) -> None:
        # One assignment, so that a handshake in the reactor thread sees the old or the new state, whole.
        self._in_force = _InForce(pair, context, stamp)
        self.log.info("TLS certificate in force: SHA-256 {fingerprint}", fingerprint=pair.fingerprint)

    def _current(self) -> _InForce:
        if self._in_force is None:
            raise RuntimeError("the certificate store has not been started")
        return self._in_force

    def _stamp(self) -> Stamp | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def make_context(pair: Pair) -> SSL.Context:
    """
    An OpenSSL server context for `pair`: TLS 1.2 and 1.3, `CIPHERS`, stateless session tickets, ALPN.

    Whatever the wrapped factory would offer, ALPN agrees on `http/1.1` only (HTTP/2 would switch itself on
    where `h2` is installed). A client that names only other protocols is refused with the alert
    `no_application_protocol` (RFC 7301 section 3.2); one without ALPN is served. Tickets are sealed with keys
    of the context, so they end with it. Raises `CertificateError` where OpenSSL refuses the pair.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS.encode("ascii"))
    context.set_tls13_ciphersuites(CIPHERS_13.encode("ascii"))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"appliance")
    context.set_alpn_select_callback(_select_protocol)
    try:
        context.use_certificate(pair.certificate)
        for certificate in pair.chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(pair.private_key)
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError(Reason.REFUSED, _describe(error)) from error
    return context


def machine_names() -> list[str]:
    """The machine's own name as it is set, and its first label where it has several."""
    name = socket.gethostname()
    return list(dict.fromkeys([name, name.partition(".")[0]]))


def machine_addresses() -> list[str]:
    """Every IP address of every interface."""
    families = (socket.AF_INET, socket.AF_INET6)
    interfaces = psutil.net_if_addrs().values()
    return [each.address for interface in interfaces for each in interface if each.family in families]


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if PROTOCOL in offered:
        return PROTOCOL
    # pyOpenSSL turns an exception here into the fatal alert, and raises it from the handshake.
    raise NoCommonProtocol


def _describe(error: SSL.Error) -> str:
    queue = error.args[0] if error.args else []
    return "; ".join(str(entry[-1]) for entry in queue) or "no reason given"
