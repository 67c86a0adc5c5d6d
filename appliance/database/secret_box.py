"""Encryption at rest: what lies in the database or a file and would open something must not lie there readably."""

import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic

KEY_BYTES: Final = 32

_NONCE_BYTES = 12  # NIST SP 800-38D section 8.2: random nonces are good for 2^32 messages under one key
_FORMAT = b"\x01"
_FILE_LIMIT = 1024


class Unsealable(Exception):
    """Bytes that this box has not sealed for this purpose, or that were changed."""


class MasterKeyUnusable(Exception):
    """The file of the master key cannot be read or does not hold a key; the text names the file and what to do."""


class SecretBox:
    """AES-256-GCM under one key. `purpose` is bound to what is sealed, so that one thing cannot stand for another."""

    def __init__(self, key: bytes) -> None:
        """`key` has `KEY_BYTES` bytes."""
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, purpose: str) -> bytes:
        """Encrypt `content`; the same content never gives the same bytes twice."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, content, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed for `purpose`. Raises `Unsealable`."""
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        if sealed[:1] != _FORMAT or len(nonce) != _NONCE_BYTES:
            raise Unsealable("not sealed by this box")
        try:
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], purpose.encode())
        except InvalidTag:
            raise Unsealable("sealed with another key, for another purpose, or changed since") from None


class MasterKey:
    """One secret from which a key for each purpose is derived (HKDF with SHA-256, RFC 5869)."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def load(cls, path: Path) -> "MasterKey":
        """The key in `path`, for nobody else to read; made where there is none. Blocking; raises
        `MasterKeyUnusable`.
        """
        try:
            secret = read_limited(path, _FILE_LIMIT)
            path.chmod(0o600)
        except FileNotFoundError:
            secret = secrets.token_bytes(KEY_BYTES)
            try:
                write_atomic(path, secret, mode=0o600)
            except OSError as error:
                raise MasterKeyUnusable(
                    f"{path} cannot be made ({error.strerror}): make its folder writable"
                ) from error
        except OSError as error:
            raise MasterKeyUnusable(
                f"{path} cannot be read ({error.strerror}): make it readable for the service, or put back its backup"
            ) from error
        except (FileTooLarge, NotARegularFile) as error:
            raise MasterKeyUnusable(f"{error}: put back the backup of the key") from error
        if len(secret) < KEY_BYTES:
            raise MasterKeyUnusable(f"{path} holds {len(secret)} bytes and no key: put back its backup")
        return cls(secret)

    def derive(self, purpose: str) -> bytes:
        """The key for `purpose`, `KEY_BYTES` long."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(self._secret)

    def box(self, purpose: str) -> SecretBox:
        """A box under the key for `purpose`."""
        return SecretBox(self.derive(purpose))
