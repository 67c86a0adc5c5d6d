"""What is derived from the master key that controllers of one mesh share."""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.database.secret_box import MasterKey
from appliance.mesh.certificates.keys import signing_key

_AUTHORITY, _HOST_KEY, _INVITATION = "authority key", "host key", "invitation token"


class Vault:
    """Seals keys and hashes codes. Raises `Unsealable` where the database was filled under another master key."""

    def __init__(self, master: MasterKey) -> None:
        self._box = master.box("mesh secrets")
        self._hash_key = master.derive("mesh codes")
        self.token_key = master.derive("mesh tokens")

    def seal_authority(self, key: Ed25519PrivateKey) -> bytes:
        """The key of a CA."""
        return self._box.seal(key.private_bytes_raw(), _AUTHORITY)

    def open_authority(self, sealed: bytes) -> Ed25519PrivateKey:
        """The key of a CA."""
        return signing_key(self._box.open(sealed, _AUTHORITY))

    def seal_host_key(self, text: str) -> bytes:
        """The private key of a host, as PEM."""
        return self._box.seal(text.encode(), _HOST_KEY)

    def open_host_key(self, sealed: bytes) -> str:
        """The private key of a host, as PEM."""
        return self._box.open(sealed, _HOST_KEY).decode()

    def seal_invitation(self, token: str) -> bytes:
        """An invitation's token."""
        return self._box.seal(token.encode(), _INVITATION)

    def open_invitation(self, sealed: bytes) -> str:
        """An invitation's token."""
        return self._box.open(sealed, _INVITATION).decode()

    def hash(self, purpose: str, code: str) -> str:
        """What a code or token is found by (HMAC with SHA-256, in hex); `purpose` keeps kinds apart."""
        return hmac.new(self._hash_key, f"{purpose}\0{code}".encode(), hashlib.sha256).hexdigest()
