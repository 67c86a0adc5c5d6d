"""Certificates and keys: what an administrator may install, and the self-signed pair made at first start."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

INPUT_LIMIT = 256 * 1024
"""Bytes accepted of `public`, `private` and `ca` together."""
CERTIFICATE_LIMIT = 16
"""Certificates accepted in `public` and `ca` together; public chains have two to four."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far in the future a certificate may begin: issuers' clocks differ from ours."""
SELF_SIGNED_DAYS = 825
"""The longest life that all common clients accept of a certificate trusted by hand."""
ADDRESS_LIMIT = 128
"""Addresses in a self-signed certificate: a host of many containers has thousands, a handshake should not."""
RSA_BITS = (2048, 8192)
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
T = TypeVar("T")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SELF_SIGNED_ORGANIZATION = "Self-signed by appliance"
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)-----END \1-----", re.DOTALL)
_LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_KEY_LABELS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                       r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")  # fmt: skip


class Reason(StrEnum):
    """Why a pair is refused; the first five are the texts of the status log, fixed by the contract."""

    MISMATCH = "private key mismatch"
    EXPIRED = "expired"
    ENCRYPTED = "encrypted key"
    NOT_PEM = "not PEM"
    BROKEN_CHAIN = "broken chain"
    WEAK_KEY = "weak key"
    UNSUPPORTED_KEY = "unsupported key"
    TOO_LARGE = "too large"
    REFUSED = "refused by OpenSSL"


class CertificateError(Exception):
    """A pair that must not be installed: `reason` for the log, `detail` for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Pair:
    """A certificate, its private key (PKCS#8) and the chain above it, the leaf's issuer first; all PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    chain_pem: bytes = b""

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificates above the leaf, parsed, in the order they are sent."""
        return x509.load_pem_x509_certificates(self.chain_pem) if self.chain_pem else []

    @property
    def private_key(self) -> ServerKey:
        """The key, parsed."""
        return _load_key(self.key_pem)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER as `AB:CD:…`, the way `openssl x509 -fingerprint -sha256` prints it."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return hashlib.sha256(der).digest().hex(":").upper()

    @property
    def bundle(self) -> bytes:
        """Key, certificate and chain as one PEM text, which `from_bundle` reads back."""
        return self.key_pem + self.certificate_pem + self.chain_pem

    @property
    def made_here(self) -> bool:
        """Whether `make_self_signed` made it, so that it may be replaced when it runs out."""
        organizations = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return any(each.value == _SELF_SIGNED_ORGANIZATION for each in organizations)

    @classmethod
    def from_bundle(cls, data: bytes) -> "Pair":
        """
        The pair in one PEM text holding key, certificate and chain, in any order.

        The dates are not checked: what was in force yesterday is served until it is replaced. Raises
        `CertificateError` for every other fault `check` knows.
        """
        return _assemble(data, data, None, now=None)


def make_self_signed(names: Iterable[str], addresses: Iterable[str], now: datetime) -> Pair:
    """
    A new ECDSA P-256 pair for this machine.

    `names` are host names (what is no DNS name is left out) and `addresses` IP addresses, with or without a
    zone; localhost, 127.0.0.1 and ::1 are always in. The certificate is an end entity (RFC 5280 section
    4.2.1.9: cA false), so that trusting it with `--cacert` trusts nothing else. It begins a day before `now`,
    for clients whose clocks lag.
    """
    dns_names = _unique([*filter(_DNS_NAME.fullmatch, names), "localhost"])
    ip_addresses = _unique([*_LOOPBACK, *_parse_addresses(addresses)])[:ADDRESS_LIMIT]
    key = ec.generate_private_key(ec.SECP256R1())
    common_name = next((name for name in dns_names if len(name) <= 64), "localhost")
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, _SELF_SIGNED_ORGANIZATION),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ])  # fmt: skip
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
    alternatives = x509.SubjectAlternativeName(
        [x509.DNSName(name) for name in dns_names] + [x509.IPAddress(address) for address in ip_addresses]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=SELF_SIGNED_DAYS - 1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(subject_key, critical=False)
        .add_extension(authority_key, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_certificate_pem([certificate]), _key_pem(key))


def check(public: bytes, private: bytes, ca: bytes | None, now: datetime) -> Pair:
    """
    The pair made of what an administrator handed in, or `CertificateError`.

    `public` is PEM with the certificate and perhaps its chain, `private` PEM with one unencrypted RSA (2048
    to 8192 bits), EC (P-256, P-384, P-521) or Ed25519 key in PKCS#1, SEC 1 or PKCS#8, `ca` PEM with
    intermediate and root certificates in any order. All of them must form one line in which each certificate
    is issued by the next, its signature verified. A certificate that is not yet valid is refused as `expired`
    too: of the fixed reasons it is the one about dates, and the detail names the date.

    Takes milliseconds, with large RSA keys more: call it in a thread.
    """
    size = len(public) + len(private) + len(ca or b"")
    if size > INPUT_LIMIT:
        raise CertificateError(Reason.TOO_LARGE, f"{size} bytes, at most {INPUT_LIMIT} are accepted")
    return _assemble(public, private, ca, now)


def _assemble(public: bytes, private: bytes, ca: bytes | None, now: datetime | None) -> Pair:
    for part in (public, private, ca or b""):
        # Bounds the work of everything below; the two over are for the key and its parameters.
        if part.count(b"-----BEGIN ") > CERTIFICATE_LIMIT + 2:
            raise CertificateError(Reason.TOO_LARGE, f"more than {CERTIFICATE_LIMIT} certificates")
    candidates = _load_certificates(public, "public")
    authorities = _load_certificates(ca, "ca") if ca and ca.strip() else []
    if len(candidates) + len(authorities) > CERTIFICATE_LIMIT:
        raise CertificateError(Reason.TOO_LARGE, f"more than {CERTIFICATE_LIMIT} certificates")
    key = _load_key(private)
    leaf = _find_leaf(candidates, key)
    # People hand in the full chain twice, or the leaf in both parts.
    pool = [certificate for certificate in _unique(candidates + authorities) if certificate != leaf]
    chain = _order_chain(leaf, pool)
    if now is not None:
        for certificate in (leaf, *chain):
            _check_dates(certificate, now)
    return Pair(_certificate_pem([leaf]), _key_pem(key), _certificate_pem(chain))


def _load_certificates(data: bytes, part: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(Reason.NOT_PEM, f"{part}: no readable certificate") from error


def _load_key(data: bytes) -> ServerKey:
    # Sought by label: OpenSSL's tools put other blocks beside it (EC PARAMETERS before an EC key).
    blocks = [match for match in _PEM_BLOCK.finditer(data) if match[1].endswith(b"PRIVATE KEY")]
    if len(blocks) != 1:
        raise CertificateError(Reason.NOT_PEM, f"private: {len(blocks)} private keys where one was expected")
    label, body = blocks[0][1], blocks[0][2]
    if label == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in body:
        raise CertificateError(Reason.ENCRYPTED, "private: remove the passphrase first")
    if label not in _KEY_LABELS:
        raise CertificateError(Reason.UNSUPPORTED_KEY, f"private: {label.decode().lower()}")
    try:
        key = serialization.load_pem_private_key(blocks[0][0] + b"\n", password=None)
    except UnsupportedAlgorithm as error:
        raise CertificateError(Reason.UNSUPPORTED_KEY, "private: key of an unknown kind") from error
    except (ValueError, TypeError) as error:
        raise CertificateError(Reason.NOT_PEM, "private: no readable key") from error
    return _check_strength(key)


def _check_strength(key: object) -> ServerKey:
    match key:
        case rsa.RSAPrivateKey() if key.key_size < RSA_BITS[0]:
            raise CertificateError(Reason.WEAK_KEY, f"RSA of {key.key_size} bits, fewer than {RSA_BITS[0]}")
        case rsa.RSAPrivateKey() if key.key_size <= RSA_BITS[1]:
            return key
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, CURVES):
            return key
        case ed25519.Ed25519PrivateKey():
            return key
    raise CertificateError(Reason.UNSUPPORTED_KEY, "use RSA (2048 to 8192 bits), EC (P-256, P-384 or P-521) or Ed25519")


def _find_leaf(candidates: list[x509.Certificate], key: ServerKey) -> x509.Certificate:
    wanted = _public_der(key.public_key())
    for certificate in candidates:
        if _certified_key(certificate) == wanted:
            return certificate
    raise CertificateError(Reason.MISMATCH, "the private key belongs to none of the public certificates")


def _order_chain(leaf: x509.Certificate, pool: list[x509.Certificate]) -> list[x509.Certificate]:
    """`pool` in the order of issue above `leaf`; whatever does not belong there makes a broken chain."""
    line = [leaf]
    # A cross-signed authority may stand beside its self-signed form: the former leads further up.
    pool = sorted(pool, key=lambda certificate: certificate.subject == certificate.issuer)
    while issuer := next((each for each in pool if _issued(each, line[-1], len(line) - 1)), None):
        line.append(issuer)
        pool.remove(issuer)
    identities = {(each.subject, _certified_key(each)) for each in line}
    strangers = [each for each in pool if (each.subject, _certified_key(each)) not in identities]
    if strangers:
        raise CertificateError(
            Reason.BROKEN_CHAIN, f"{_name(strangers[0])} did not issue {_name(line[-1])} or anything below it"
        )
    return line[1:]


def _issued(issuer: x509.Certificate, subject: x509.Certificate, depth: int) -> bool:
    """Whether `issuer` signed `subject` and may, with `depth` authorities below it (RFC 5280, 6.1.4)."""
    try:
        subject.verify_directly_issued_by(issuer)
        return _may_issue(issuer, depth)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False


def _may_issue(issuer: x509.Certificate, depth: int) -> bool:
    if issuer.version is x509.Version.v1:
        # Has no extensions to say so; as a root such certificates are still trusted.
        return issuer.subject == issuer.issuer
    extensions = {each.oid: each.value for each in issuer.extensions}
    constraints = extensions.get(x509.BasicConstraints.oid)
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        return False
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        return False
    return constraints.path_length is None or constraints.path_length >= depth


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise CertificateError(Reason.EXPIRED, f"{_name(certificate)} ended on {end:%Y-%m-%d %H:%M} UTC")
    if now + CLOCK_SKEW < begin:
        raise CertificateError(Reason.EXPIRED, f"{_name(certificate)} begins on {begin:%Y-%m-%d %H:%M} UTC")


def _certified_key(certificate: x509.Certificate) -> bytes:
    """The certified public key as DER; empty where it is of an unknown kind, which then matches no key."""
    try:
        return _public_der(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _public_der(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_pem(key: ServerKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _parse_addresses(addresses: Iterable[str]) -> Iterable[Address]:
    for address in addresses:
        try:
            yield ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            continue


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))


def _name(certificate: x509.Certificate) -> str:
    try:
        return repr(certificate.subject.rfc4514_string()[:200])
    except ValueError:
        return "a certificate"
