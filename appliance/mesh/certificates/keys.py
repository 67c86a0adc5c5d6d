"""Keys: Ed25519 (RFC 8032) signs for a network, X25519 (RFC 7748) is a host's."""

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.mesh.certificates import pem
from appliance.mesh.certificates.errors import BadCertificate
from appliance.mesh.certificates.model import KEY_BYTES
from appliance.secret import Secret

_ANY_PRIVATE_KEY = X25519PrivateKey.from_private_bytes(b"\x42" * KEY_BYTES)


class HostKey(msgspec.Struct, frozen=True):
    """A host's pair; `private` is the PEM text that Nebula reads."""

    public: bytes
    private: Secret


def new_host_key() -> HostKey:
    """A new pair for a host."""
    key = X25519PrivateKey.generate()
    private = pem.encode(pem.X25519_PRIVATE_KEY, key.private_bytes_raw())
    return HostKey(key.public_key().public_bytes_raw(), Secret(private))


def new_signing_key() -> Ed25519PrivateKey:
    """A new key for a CA."""
    return Ed25519PrivateKey.generate()


def signing_key(raw: bytes) -> Ed25519PrivateKey:
    """The CA key whose `private_bytes_raw` are `raw`."""
    return Ed25519PrivateKey.from_private_bytes(raw)


def signing_key_pem(key: Ed25519PrivateKey) -> Secret:
    """A CA's key as nebula-cert keeps it: seed and public key."""
    content = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return Secret(pem.encode(pem.ED25519_PRIVATE_KEY, content))


def read_public_key(text: str) -> bytes:
    """The public key of a host from its PEM text.

    Raises `BadCertificate`, also for a key with which everybody would agree on the same secret: one of a small order
    (RFC 7748 section 6.1).
    """
    _, raw = pem.decode(text, pem.X25519_PUBLIC_KEY)
    if len(raw) != KEY_BYTES:
        raise BadCertificate(f"a public key has {KEY_BYTES} bytes")
    try:
        _ANY_PRIVATE_KEY.exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise BadCertificate("the public key is not one that can be used") from None
    return raw
