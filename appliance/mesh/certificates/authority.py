"""Signing and checking: what nebula-cert does, without it."""

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.mesh.certificates import pem
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.model import Certificate, Codec, Details, Interface, Version
from appliance.mesh.certificates.v1 import V1
from appliance.mesh.certificates.v2 import V2

_CODECS: Mapping[Version, Codec] = {1: V1(), 2: V2()}
_LABELS: Mapping[Version, str] = {1: pem.CERTIFICATE_V1, 2: pem.CERTIFICATE_V2}
_VERSIONS: Mapping[str, Version] = {label: version for version, label in _LABELS.items()}


def sign(details: Details, key: Ed25519PrivateKey, version: Version) -> Certificate:
    """Sign `details` with a CA's key. Raises `BadCertificate` for what that version cannot hold."""
    codec = _CODECS[version]
    return codec.assemble(details, key.sign(codec.to_sign(details)))


def make_authority(
    name: str, key: Ed25519PrivateKey, version: Version, *, not_before: int, not_after: int
) -> Certificate:
    """A CA's certificate, signed by itself; it may give any address and any group."""
    public_key = key.public_key().public_bytes_raw()
    details = Details(name=name, not_before=not_before, not_after=not_after, public_key=public_key, is_ca=True)
    return sign(details, key, version)


def verify(certificate: Certificate, authority: Certificate, now: int) -> None:
    """Raise `BadCertificate` unless `authority` has issued the host's `certificate` and both are valid at `now`.

    The rules are Nebula's: a host's certificate lies within its CA's time, and within its addresses and groups where
    the CA names any.
    """
    host, ca = certificate.details, authority.details
    if not ca.is_ca or host.is_ca or host.issuer != authority.fingerprint:
        raise BadCertificate("issued by another authority")
    if not host.not_before <= now <= host.not_after:
        raise BadCertificate("not valid at this time")
    if host.not_before < ca.not_before or host.not_after > ca.not_after:
        raise BadCertificate("valid for longer than its authority")
    if ca.groups and not set(host.groups) <= set(ca.groups):
        raise BadCertificate("a group that the authority may not give")
    if ca.networks and not all(any(_within(own, given) for given in ca.networks) for own in host.networks):
        raise BadCertificate("an address that the authority may not give")
    check_signature(certificate, ca.public_key)


def check_signature(certificate: Certificate, public_key: bytes) -> None:
    """Raise `BadCertificate` unless the certificate was signed with the key that belongs to `public_key`."""
    signed = _CODECS[certificate.version].to_sign(certificate.details)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(certificate.signature, signed)
    except (InvalidSignature, ValueError):
        raise BadCertificate("the signature is wrong") from None


def to_pem(certificate: Certificate) -> str:
    """The text that Nebula reads."""
    return pem.encode(_LABELS[certificate.version], certificate.encoded)


def from_pem(text: str) -> Certificate:
    """Read one certificate of either version. Raises `BadCertificate`."""
    label, encoded = pem.decode(text, *_VERSIONS)
    return _CODECS[_VERSIONS[label]].parse(encoded)


def _within(own: Interface, given: Interface) -> bool:
    return own.ip in given.network and own.network.prefixlen >= given.network.prefixlen
