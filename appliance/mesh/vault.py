"""What is derived from the master key that controllers of one mesh share."""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.database.secret_box import MasterKey, SecretBox
from appliance.mesh.certificates.keys import signing_key

_AUTHORITY, _HOST_KEY, _INVITATION = "authority key", "host key", "invitation token"


@dataclass(frozen=True)
class _Keys:
    box: SecretBox
    hashes: bytes
    tokens: bytes


class Vault:
    """Seals keys and hashes codes, once it has the master key. Raises `Unsealable` where the database was filled under
    another one.
    """

    def __init__(self, master: MasterKey | None = None) -> None:
        self._keys: _Keys | None = None
        if master is not None:
            self._use(master)

    def prepare(self, path: Path) -> None:
        """Read the master key, or make it. Blocking; raises `MasterKeyUnusable`, OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._use(MasterKey.load(path))

    @property
    def token_key(self) -> bytes:
        """What tokens are signed with."""
        return self._known.tokens

    @property
    def _known(self) -> _Keys:
        if self._keys is None:
            raise RuntimeError("the master key is not loaded")
        return self._keys

    @property
    def _box(self) -> SecretBox:
        return self._known.box

    def _use(self, master: MasterKey) -> None:
        self._keys = _Keys(master.box("mesh secrets"), master.derive("mesh codes"), master.derive("mesh tokens"))

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
        return hmac.new(self._known.hashes, f"{purpose}\0{code}".encode(), hashlib.sha256).hexdigest()
