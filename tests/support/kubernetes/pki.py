"""Certificates: a CA, the server's certificate for 127.0.0.1, an administrator's, and a CA that has signed nothing."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.kubernetes.identity import ADMINISTRATORS

Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def write(folder: Path) -> None:
    """Write `ca.crt`, `server.crt`, `server.key`, `admin.crt`, `admin.key` and `other-ca.crt`."""
    authority = _issue("double-ca")
    _write(folder, "ca", authority)
    _write(folder, "other-ca", _issue("other-ca"))
    _write(folder, "server", _issue("kube-apiserver", issuer=authority))
    _write(folder, "admin", _issue("admin", ADMINISTRATORS, issuer=authority))


def _issue(name: str, organization: str | None = None, *, issuer: Issued | None = None) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    subject = x509.Name(attributes)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer[1] if issuer is not None else key, hashes.SHA256()), key


def _write(folder: Path, name: str, issued: Issued) -> None:
    certificate, key = issued
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
