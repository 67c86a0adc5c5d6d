"""Update packages: making keys, building and inspecting.

A package is what `openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass file:updates.key` makes of a tar with
`software_package.tar.gz` and `software_package.tar.gz.sign`, the latter from `openssl dgst -sha256 -sign`.
With -pbkdf2 openssl-enc(1) takes 10 000 rounds of PBKDF2-HMAC-SHA256 over the first line of the key file and
an eight-byte salt for key and initialisation vector together, and writes `Salted__` and the salt first.

Everything streams: a package of any size needs a few megabytes of memory. The calls block; they are for the
command line, not for the reactor's thread.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import secrets
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from appliance.admin.tools.archive_reader import (
    CHUNK,
    DEFAULT_LIMIT,
    FILE,
    ArchiveError,
    Member,
    Reader,
    Source,
    check_symlink,
)
from appliance.files import replace, write_atomic

PASSPHRASE, PRIVATE_KEY, PUBLIC_KEY = "updates.key", "updates.private.pem", "updates.pub"
INNER, SIGNATURE, VERSION = "software_package.tar.gz", "software_package.tar.gz.sign", "version.txt"
VERSION_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}")
SALT_PREFIX = b"Salted__"
KDF_ROUNDS = 10_000
KEY_BITS = 3072
SIGNATURE_LIMIT = 64 * 1024

Progress = Callable[[int], None]


class PackageError(Exception):
    """A package or its keys cannot be made or read; the text says what and why."""


def _ignore(count: int) -> None:
    """Progress nobody watches."""


@dataclass(frozen=True)
class Inspection:
    """What a package holds: version, members of the inner archive, whether the signature is good."""

    version: str | None
    signature_valid: bool
    inner_size: int
    inner_sha256: str
    members: list[Member] = field(default_factory=list)


def make_keys(directory: Path, *, admin_directory: Path | None = None) -> None:
    """Make the passphrase `updates.key`, the RSA signing key `updates.private.pem` and `updates.pub`.

    With `admin_directory` the passphrase and the public key are also installed in its `etc/`. Existing files
    are never replaced. Raises PackageError, OSError.
    """
    targets = [directory / name for name in (PASSPHRASE, PRIVATE_KEY, PUBLIC_KEY)]
    if admin_directory is not None:
        targets += [admin_directory / "etc" / name for name in (PASSPHRASE, PUBLIC_KEY)]
    for target in targets:
        if os.path.lexists(target):
            raise PackageError(f"{target} is there already; keys are not replaced")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    passphrase = base64.b64encode(secrets.token_bytes(48)) + b"\n"
    contents = {PASSPHRASE: (passphrase, 0o600), PRIVATE_KEY: (private, 0o600), PUBLIC_KEY: (public, 0o644)}
    for target in targets:
        data, mode = contents[target.name]
        write_atomic(target, data, mode=mode)


def build(
    payload: Path,
    version: str,
    keys: Path,
    output: Path,
    *,
    level: int = 6,
    progress: Progress = _ignore,
) -> str:
    """Build the package `output` from the folder `payload` and return its SHA-256 in hex.

    `version` becomes the archive's version.txt, in place of one in the folder. `level` is gzip's, 0 to 9; 0
    stores. The inner archive is reproducible: sorted, without owners and times, permissions 0755 or 0644.
    `progress` is called with the number of payload bytes read since the last call. Raises PackageError,
    OSError.
    """
    if not VERSION_PATTERN.fullmatch(version):
        raise PackageError(f"version {version!r}: letters, digits and . + ~ _ - only, at most 64")
    if not payload.is_dir():
        raise PackageError(f"{payload} is no folder")
    passphrase = _passphrase(keys)
    signer = load_private_key(keys / PRIVATE_KEY)
    inner_file = output.with_name(output.name + ".inner")
    part_file = output.with_name(output.name + ".part")
    try:
        with open(inner_file, "xb") as inner:
            hashed = _Hashed(inner)
            _write_inner(payload, version, hashed, level, progress)
        digest = hashed.digest.digest()
        signature = signer.sign(digest, rsa_padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        with open(part_file, "xb") as part:
            outer = _Hashed(part)
            _write_outer(inner_file, signature, passphrase, outer)
            part.flush()
            os.fsync(part.fileno())
        replace(part_file, output)
        return outer.digest.hexdigest()
    except FileExistsError as error:
        raise PackageError(f"{error.filename} is there: another build runs, or one was cut off") from error
    except ArchiveError as error:
        raise PackageError(str(error)) from error
    finally:
        inner_file.unlink(missing_ok=True)
        part_file.unlink(missing_ok=True)


def payload_size(payload: Path) -> int:
    """The bytes of all files in the folder, for a progress display."""
    return sum(path.lstat().st_size for path in payload.rglob("*") if path.is_file() and not path.is_symlink())


def inspect(package: Path, keys: Path) -> Inspection:
    """Decrypt, verify and list a package in one pass, nothing unpacked. Raises PackageError, OSError."""
    passphrase = _passphrase(keys)
    verifier = _public_key(keys / PUBLIC_KEY)
    signature = b""
    inner: _HashedSource | None = None
    version = None
    members: list[Member] = []
    try:
        with open(package, "rb") as file:
            outer = Reader(_Decrypting(file, passphrase), limit=DEFAULT_LIMIT)
            for member in outer:
                if member.name == SIGNATURE and member.kind == FILE and member.size <= SIGNATURE_LIMIT:
                    signature = outer.read(SIGNATURE_LIMIT)
                elif member.name == INNER and member.kind == FILE:
                    inner = _HashedSource(outer)
                    version = _list_inner(inner, members)
                    while inner.read(CHUNK):
                        pass
    except ArchiveError as error:
        raise PackageError(f"{package}: {error}") from error
    if inner is None or not signature:
        raise PackageError(f"{package} does not hold {INNER} and {SIGNATURE}")
    try:
        verifier.verify(signature, inner.digest.digest(), rsa_padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        valid = True
    except InvalidSignature:
        valid = False
    return Inspection(version, valid, inner.count, inner.digest.hexdigest(), members)


def _list_inner(inner: Source, members: list[Member]) -> str | None:
    version = None
    reader = Reader(inner, limit=DEFAULT_LIMIT)
    for member in reader:
        members.append(member)
        if member.name == VERSION and member.kind == FILE:
            version = reader.read(256).split(b"\n")[0].decode("utf-8", "replace").strip()
    return version


class _Hashed:
    """A file that remembers the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Encrypting:
    """A file that writes what `openssl enc -aes-256-cbc -md sha256 -pbkdf2` would."""

    def __init__(self, target: _Hashed, passphrase: bytes) -> None:
        salt = secrets.token_bytes(8)
        self._target = target
        self._padder = padding.PKCS7(128).padder()
        self._encryptor = _cipher(passphrase, salt).encryptor()
        target.write(SALT_PREFIX + salt)

    def write(self, data: bytes, /) -> int:
        self._target.write(self._encryptor.update(self._padder.update(data)))
        return len(data)

    def finish(self) -> None:
        self._target.write(self._encryptor.update(self._padder.finalize()) + self._encryptor.finalize())


def _write_inner(payload: Path, version: str, target: _Hashed, level: int, progress: Progress) -> None:
    file = cast("IO[bytes]", target)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        line = f"{version}\n".encode()
        archive.addfile(_entry(VERSION, tarfile.REGTYPE, 0o644, len(line)), BytesIO(line))
        for path in _walk(payload):
            name = path.relative_to(payload).as_posix()
            if name != VERSION:
                _add(archive, path, name, progress)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name)):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _add(archive: tarfile.TarFile, path: Path, name: str, progress: Progress) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = check_symlink(name, os.readlink(path))
        archive.addfile(entry)
    elif stat.S_ISDIR(found.st_mode):
        archive.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    elif stat.S_ISREG(found.st_mode):
        mode = 0o755 if found.st_mode & 0o111 else 0o644
        with open(path, "rb") as file:
            watched = cast("IO[bytes]", _Watched(file, progress))
            archive.addfile(_entry(name, tarfile.REGTYPE, mode, found.st_size), watched)
    else:
        raise PackageError(f"{path}: only files, folders and links can be packed")


class _Watched:
    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._progress(len(data))
        return data


def _entry(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    entry.size = size
    return entry


def _write_outer(inner_file: Path, signature: bytes, passphrase: bytes, target: _Hashed) -> None:
    encrypted = _Encrypting(target, passphrase)
    with (
        open(inner_file, "rb") as inner,
        tarfile.open(fileobj=cast("IO[bytes]", encrypted), mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.addfile(_entry(INNER, tarfile.REGTYPE, 0o644, inner_file.stat().st_size), inner)
        archive.addfile(_entry(SIGNATURE, tarfile.REGTYPE, 0o644, len(signature)), BytesIO(signature))
    encrypted.finish()


class _Decrypting:
    """A source of the bytes that `openssl enc -d` would give. Raises ArchiveError where they are none."""

    def __init__(self, file: IO[bytes], passphrase: bytes) -> None:
        head = file.read(16)
        if len(head) < 16 or not head.startswith(SALT_PREFIX):
            raise ArchiveError("it is not encrypted by openssl enc")
        self._file = file
        self._unpadder = padding.PKCS7(128).unpadder()
        self._decryptor = _cipher(passphrase, head[8:]).decryptor()
        self._ready = b""
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        while not self._ended and not self._ready:
            self._ready = self._more()
        size = len(self._ready) if size < 0 else size
        part, self._ready = self._ready[:size], self._ready[size:]
        return part

    def _more(self) -> bytes:
        data = self._file.read(CHUNK)
        if data:
            return self._unpadder.update(self._decryptor.update(data))
        self._ended = True
        try:
            return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()
        except ValueError as error:
            raise ArchiveError("it cannot be decrypted with this key") from error


class _HashedSource:
    """A source that remembers the SHA-256 and the number of the bytes read."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self.digest = hashlib.sha256()
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(CHUNK if size < 0 else size)
        self.digest.update(data)
        self.count += len(data)
        return data


def _cipher(passphrase: bytes, salt: bytes) -> Cipher[modes.CBC]:
    derived = PBKDF2HMAC(hashes.SHA256(), length=48, salt=salt, iterations=KDF_ROUNDS).derive(passphrase)
    return Cipher(algorithms.AES(derived[:32]), modes.CBC(derived[32:]))


def _passphrase(keys: Path) -> bytes:
    """The first line, as `-pass file:` takes it."""
    try:
        line = (keys / PASSPHRASE).read_bytes().split(b"\n")[0]
    except FileNotFoundError as error:
        raise PackageError(f"{keys / PASSPHRASE} is missing; `appliance package keys` makes a set") from error
    if not line:
        raise PackageError(f"{keys / PASSPHRASE} is empty")
    return line


def load_private_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise PackageError(f"{path} is no private key in PEM form: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PackageError(f"{path} is no RSA key")
    return key


def _public_key(path: Path) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise PackageError(f"{path} is no public key in PEM form: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise PackageError(f"{path} is no RSA key")
    return key
