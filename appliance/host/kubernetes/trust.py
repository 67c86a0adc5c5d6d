"""TLS to an API server: which authority is trusted, which name is expected, and who we are by certificate.

Loaded when a cluster is first asked, for the libraries it takes.
"""

import ipaddress
import weakref
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.host.kubernetes.errors import ClusterError

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 the suites with forward secrecy and authenticated encryption (RFC 9325, 4.2), which Go has by default."""

_NAMES_SHOWN = 5

_SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER, _NO_FIRST_ISSUER, _BAD_SIGNATURE = 18, 19, 20, 21, 7
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = (_SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER, _NO_FIRST_ISSUER, _BAD_SIGNATURE)


class NotTrusted(ClusterError):
    """The server's certificate is not one to believe; the text says why and which setting to look at."""


@dataclass(frozen=True)
class Identity:
    """A client's certificate, with what of its chain is sent along, and its key, both as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Trust:
    """How a server is known to be the right one.

    `authorities` are PEM certificates, None for those that the system trusts; `name` is a host name or an address
    that its certificate has to have. `setting` and `name_setting` tell where the two were set.
    """

    authorities: bytes | None
    name: str
    insecure: bool
    setting: str
    name_setting: str


@implementer(IOpenSSLClientConnectionCreator)
class ConnectionCreator:
    """Makes TLS 1.2 and 1.3 connections with a `Trust`, as an `Identity` where there is one.

    Reads and checks both; for a thread. Raises `ClusterError`.
    """

    def __init__(self, trust: Trust, identity: Identity | None) -> None:
        self._trust = trust
        self._address = _address(trust.name)
        self._context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(_CIPHERS)
        context.set_alpn_protos([b"http/1.1"])
        if trust.authorities is None:
            context.set_default_verify_paths()
        elif not trust.insecure:
            _trust_in(context, trust)
        if identity is not None:
            _identify(context, identity)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection, for `tlsProtocol` to drive."""
        connection = SSL.Connection(self._context, None)
        if self._address is None:
            connection.set_tlsext_host_name(self._trust.name.encode("ascii"))
        if self._trust.insecure:
            connection.set_verify(SSL.VERIFY_NONE)
            return connection
        protocol = weakref.ref(tlsProtocol)

        def verify(_: SSL.Connection, certificate: crypto.X509, code: int, depth: int, good: int) -> bool:
            trouble = self._trouble(certificate, code, depth) if depth == 0 or not good else None
            driving = protocol()
            if trouble is not None and driving is not None:
                driving.failVerification(Failure(trouble))
            return trouble is None

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection

    def _trouble(self, certificate: crypto.X509, code: int, depth: int) -> NotTrusted | None:
        """What is wrong with `certificate`, by OpenSSL's verdict and the name in it."""
        whose = "The cluster's certificate" if depth == 0 else "A certificate above the cluster's"
        look = f"look at {self._trust.setting}"
        if code in _UNTRUSTED:
            return NotTrusted(f"The cluster's certificate is not signed by an authority that we trust: {look}")
        if code == _EXPIRED:
            return NotTrusted(f"{whose} has expired; a renewed one may need a new authority: {look}")
        if code == _NOT_YET_VALID:
            return NotTrusted(f"{whose} is not valid yet: look at this machine's clock, or {look}")
        if code:
            return NotTrusted(f"{whose} is refused (error {code}, see openssl-verification-options): {look}")
        return self._wrong_name(certificate.to_cryptography())

    def _wrong_name(self, certificate: x509.Certificate) -> NotTrusted | None:
        try:
            if self._address is None:
                verify_certificate_hostname(certificate, self._trust.name)
            else:
                verify_certificate_ip_address(certificate, self._address)
        except (VerificationError, CertificateError, ValueError):
            names = ", ".join(_names(certificate)) or "nobody"
            wrong = f"The cluster's certificate is for {names}, not for {self._trust.name}"
            return NotTrusted(f"{wrong}: look at {self._trust.name_setting}")
        return None


def _trust_in(context: SSL.Context, trust: Trust) -> None:
    store = context.get_cert_store()
    try:
        certificates = x509.load_pem_x509_certificates(trust.authorities or b"")
    except ValueError:
        certificates = []
    if not certificates or store is None:
        raise ClusterError(f"{trust.setting} holds no certificate in PEM form")
    for certificate in certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    # As for Go, what is trusted need not be the root of its chain.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def _identify(context: SSL.Context, identity: Identity) -> None:
    try:
        first, *chain = x509.load_pem_x509_certificates(identity.certificate)
        key = load_pem_private_key(identity.key, None)
        context.use_certificate(first)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type]  # what is no key for TLS is refused there
        context.check_privatekey()
    except (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error):
        raise ClusterError("Our client certificate and its key cannot be used, or do not belong together") from None


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    texts = [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    return texts[:_NAMES_SHOWN]


def _address(name: str) -> str | None:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return None
