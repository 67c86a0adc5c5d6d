"""Version 1: Protocol Buffers, IPv4 only; every Nebula reads it.

A verifier encodes what it has read anew and checks the signature over that, so the encoding must be canonical: fields
in the order of their numbers, defaults left out (mesh contract, "Certificates").
"""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface

from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.model import CURVE25519, KEY_BYTES, SIGNATURE_BYTES, Certificate, Details, Interface
from appliance.mesh.certificates.protobuf import bytes_field, fields, number_field, read_varint, varint

_DETAILS, _SIGNATURE = 1, 2
_NAME, _IPS, _SUBNETS, _GROUPS, _NOT_BEFORE, _NOT_AFTER, _PUBLIC_KEY, _IS_CA, _ISSUER, _CURVE = *range(1, 10), 100
_ALL_ONES = (1 << 32) - 1


class V1:
    """Implements `Codec`."""

    def to_sign(self, details: Details) -> bytes:
        """The encoded details."""
        return b"".join(
            (
                _text(_NAME, details.name),
                _networks(_IPS, details.networks),
                _networks(_SUBNETS, details.unsafe_networks),
                *(bytes_field(_GROUPS, group.encode()) for group in details.groups),
                number_field(_NOT_BEFORE, details.not_before),
                number_field(_NOT_AFTER, details.not_after),
                bytes_field(_PUBLIC_KEY, details.public_key),
                number_field(_IS_CA, details.is_ca),
                bytes_field(_ISSUER, bytes.fromhex(details.issuer)) if details.issuer else b"",
            )
        )

    def assemble(self, details: Details, signature: bytes) -> Certificate:
        """The fingerprint is that of the whole certificate."""
        encoded = bytes_field(_DETAILS, self.to_sign(details)) + bytes_field(_SIGNATURE, signature)
        return Certificate(
            version=1,
            details=details,
            signature=signature,
            encoded=encoded,
            fingerprint=hashlib.sha256(encoded).hexdigest(),
        )

    def parse(self, encoded: bytes) -> Certificate:
        """Read a certificate of version 1."""
        parts = dict(_only(fields(encoded), bytes, _DETAILS, _SIGNATURE))
        signature = parts.get(_SIGNATURE, b"")
        if _DETAILS not in parts or len(signature) != SIGNATURE_BYTES:
            raise BadCertificate("not a certificate: details or signature are missing")
        certificate = self.assemble(_details(parts[_DETAILS]), signature)
        if certificate.encoded != encoded:
            raise BadCertificate("the certificate is not in its canonical form")
        return certificate


def _text(tag: int, text: str) -> bytes:
    return bytes_field(tag, text.encode()) if text else b""


def _networks(tag: int, networks: Iterable[Interface]) -> bytes:
    """Pairs of address and netmask, packed."""
    packed = b""
    for network in networks:
        if not isinstance(network, IPv4Interface):
            raise BadCertificate("certificates of version 1 hold IPv4 addresses only")
        packed += varint(int(network.ip)) + varint(int(network.netmask))
    return bytes_field(tag, packed) if packed else b""


def _only(found: Iterable[tuple[int, int | bytes]], kind: type[bytes], *tags: int) -> Iterable[tuple[int, bytes]]:
    for tag, value in found:
        if tag not in tags or not isinstance(value, kind):
            raise BadCertificate("not a certificate: a field is unknown or of another kind")
        yield tag, value


def _details(encoded: bytes) -> Details:
    texts: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    groups: list[bytes] = []
    for tag, value in fields(encoded):
        if isinstance(value, int):
            numbers[tag] = value
        elif tag == _GROUPS:
            groups.append(value)
        else:
            texts[tag] = value
    if numbers.get(_CURVE, CURVE25519) != CURVE25519:
        raise BadCertificate("keys of Curve25519 only")
    public_key = texts.get(_PUBLIC_KEY, b"")
    if len(public_key) != KEY_BYTES:
        raise BadCertificate(f"a public key has {KEY_BYTES} bytes")
    try:
        return Details(
            name=texts.get(_NAME, b"").decode(),
            networks=_unpacked(texts.get(_IPS, b"")),
            unsafe_networks=_unpacked(texts.get(_SUBNETS, b"")),
            groups=tuple(group.decode() for group in groups),
            not_before=_signed(numbers.get(_NOT_BEFORE, 0)),
            not_after=_signed(numbers.get(_NOT_AFTER, 0)),
            public_key=public_key,
            is_ca=bool(numbers.get(_IS_CA, 0)),
            issuer=texts.get(_ISSUER, b"").hex(),
        )
    except UnicodeDecodeError:
        raise BadCertificate("a name or a group is not UTF-8") from None


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _unpacked(packed: bytes) -> tuple[IPv4Interface, ...]:
    found = []
    position = 0
    while position < len(packed):
        address, position = read_varint(packed, position)
        mask, position = read_varint(packed, position)
        # A netmask is ones and then zeros: its complement is one less than a power of two.
        host_part = mask ^ _ALL_ONES
        if address > _ALL_ONES or mask > _ALL_ONES or host_part & (host_part + 1):
            raise BadCertificate("an address or a netmask cannot be read")
        found.append(IPv4Interface((IPv4Address(address), 32 - host_part.bit_length())))
    return tuple(found)
