"""What a certificate says, whichever version encodes it."""

from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal, Protocol

import msgspec

CURVE25519 = 0
KEY_BYTES = 32
SIGNATURE_BYTES = 64

Version = Literal[1, 2]
Interface = IPv4Interface | IPv6Interface


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """The signed part.

    `networks` are the host's addresses with their prefixes (a CA's: those it may give), `unsafe_networks` what is
    routed through it. Times are seconds since 1970. `issuer` is the CA's fingerprint in hex, empty for a CA.
    `public_key` is of X25519 for a host, of Ed25519 for a CA.
    """

    name: str
    networks: tuple[Interface, ...] = ()
    unsafe_networks: tuple[Interface, ...] = ()
    groups: tuple[str, ...] = ()
    not_before: int
    not_after: int
    public_key: bytes
    is_ca: bool = False
    issuer: str = ""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as it is shown to other hosts; `encoded` are its bytes, `fingerprint` is in hex."""

    version: Version
    details: Details
    signature: bytes
    encoded: bytes
    fingerprint: str


class Codec(Protocol):
    """One version's encoding."""

    def to_sign(self, details: Details) -> bytes:
        """The bytes that the signature covers. Raises `BadCertificate` for what this version cannot hold."""

    def assemble(self, details: Details, signature: bytes) -> Certificate:
        """The whole certificate."""

    def parse(self, encoded: bytes) -> Certificate:
        """Read a certificate. Raises `BadCertificate`, also for bytes that `assemble` would not make."""
