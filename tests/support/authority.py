"""Certificate authorities, keys and certificates for tests, made on the spot."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)


def key_pem(
    key: Key,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    passphrase: bytes | None = None,
) -> bytes:
    """The key as PEM in PKCS#8 or, as `TraditionalOpenSSL`, in PKCS#1 or SEC 1."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """One RSA key of each size for the whole run: making them is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    key: Key | None = None,
    ca: bool = False,
    signs_certificates: bool = True,
    path_length: int | None = None,
    addresses: Sequence[str] = (),
    now: datetime = NOW,
    begin: datetime | None = None,
    end: datetime | None = None,
) -> Issued:
    """A certificate for `name`, issued by `issuer` or by itself, by default valid around `now`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now - timedelta(days=10))
        .not_valid_after(end or now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if not ca:
        hosts = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost"), *hosts])
        builder = builder.add_extension(names, critical=False)
    if ca:
        builder = builder.add_extension(_usage(signs_certificates), critical=True)
    unhashed = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return Issued(builder.sign(signer, None if unhashed else hashes.SHA256()), key)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=True, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
