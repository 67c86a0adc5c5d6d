"""Version 2: DER, IPv4 and IPv6; Nebula reads it from 1.10 on (mesh contract, "Certificates")."""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import msgspec

from appliance.mesh.certificates.der import OCTET_STRING, SEQUENCE, UTF8_STRING, Reader, element, integer, read_integer
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.model import CURVE25519, KEY_BYTES, SIGNATURE_BYTES, Certificate, Details, Interface

_DETAILS, _CURVE, _PUBLIC_KEY, _SIGNATURE = 0xA0, 0x81, 0x82, 0x83
_NAME, _NETWORKS, _UNSAFE, _GROUPS, _IS_CA, _NOT_BEFORE, _NOT_AFTER, _ISSUER = (
    0x80,
    0xA1,
    0xA2,
    0xA3,
    0x84,
    0x85,
    0x86,
    0x87,
)
_TRUE = b"\xff"


class V2:
    """Implements `Codec`."""

    def to_sign(self, details: Details) -> bytes:
        """The encoded details, the curve and the public key."""
        return _encoded(details) + bytes((CURVE25519,)) + details.public_key

    def assemble(self, details: Details, signature: bytes) -> Certificate:
        """The fingerprint is that of what was signed, and the signature."""
        details = msgspec.structs.replace(
            details, networks=_ordered(details.networks), unsafe_networks=_ordered(details.unsafe_networks)
        )
        return Certificate(
            version=2,
            details=details,
            signature=signature,
            encoded=element(
                SEQUENCE,
                _encoded(details),
                element(_PUBLIC_KEY, details.public_key),
                element(_SIGNATURE, signature),
            ),
            fingerprint=hashlib.sha256(self.to_sign(details) + signature).hexdigest(),
        )

    def parse(self, encoded: bytes) -> Certificate:
        """Read a certificate of version 2."""
        whole = Reader(encoded)
        parts = Reader(whole.take(SEQUENCE))
        content = parts.take(_DETAILS)
        if parts.take_optional(_CURVE) not in (None, bytes((CURVE25519,))):
            raise BadCertificate("keys of Curve25519 only")
        public_key, signature = parts.take(_PUBLIC_KEY), parts.take(_SIGNATURE)
        if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            raise BadCertificate(f"a key has {KEY_BYTES} bytes and a signature {SIGNATURE_BYTES}")
        certificate = self.assemble(_details(content, public_key), signature)
        if certificate.encoded != encoded:
            raise BadCertificate("the certificate is not in its canonical form")
        return certificate


def _encoded(details: Details) -> bytes:
    return element(
        _DETAILS,
        element(_NAME, details.name.encode()),
        _networks(_NETWORKS, details.networks),
        _networks(_UNSAFE, details.unsafe_networks),
        _groups(details.groups),
        element(_IS_CA, _TRUE) if details.is_ca else b"",
        integer(_NOT_BEFORE, details.not_before),
        integer(_NOT_AFTER, details.not_after),
        element(_ISSUER, bytes.fromhex(details.issuer)) if details.issuer else b"",
    )


def _groups(groups: Iterable[str]) -> bytes:
    found = [element(UTF8_STRING, group.encode()) for group in groups]
    return element(_GROUPS, *found) if found else b""


def _networks(tag: int, networks: Iterable[Interface]) -> bytes:
    found = [
        element(OCTET_STRING, network.ip.packed + bytes((network.network.prefixlen,))) for network in _ordered(networks)
    ]
    return element(tag, *found) if found else b""


def _ordered(networks: Iterable[Interface]) -> tuple[Interface, ...]:
    """IPv4 before IPv6, then by address, then by prefix."""
    return tuple(sorted(networks, key=lambda one: (one.version, int(one.ip), one.network.prefixlen)))


def _details(content: bytes, public_key: bytes) -> Details:
    parts = Reader(content)
    try:
        details = Details(
            name=parts.take(_NAME).decode(),
            networks=_read_networks(parts.take_optional(_NETWORKS)),
            unsafe_networks=_read_networks(parts.take_optional(_UNSAFE)),
            groups=_read_groups(parts.take_optional(_GROUPS)),
            is_ca=parts.take_optional(_IS_CA) == _TRUE,
            not_before=read_integer(parts.take(_NOT_BEFORE)),
            not_after=read_integer(parts.take(_NOT_AFTER)),
            issuer=(parts.take_optional(_ISSUER) or b"").hex(),
            public_key=public_key,
        )
    except UnicodeDecodeError:
        raise BadCertificate("a name or a group is not UTF-8") from None
    return details


def _read_groups(content: bytes | None) -> tuple[str, ...]:
    found = []
    parts = Reader(content or b"")
    while not parts.at_end:
        found.append(parts.take(UTF8_STRING).decode())
    return tuple(found)


def _read_networks(content: bytes | None) -> tuple[Interface, ...]:
    found: list[Interface] = []
    parts = Reader(content or b"")
    while not parts.at_end:
        packed = parts.take(OCTET_STRING)
        address, prefix = packed[:-1], packed[-1:]
        try:
            if len(address) == 4:
                found.append(IPv4Interface((IPv4Address(address), prefix[0])))
            else:
                found.append(IPv6Interface((IPv6Address(address), prefix[0])))
        except (ValueError, IndexError):
            raise BadCertificate("an address or a prefix cannot be read") from None
    return tuple(found)
