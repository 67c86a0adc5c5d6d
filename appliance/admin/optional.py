"""
What of the admin surface is on: optional endpoints, first run, storage types.

Two JSON files of older appliances take part where they exist. The one says which optional endpoints are
served and how a first run goes: `{"endpoints": ["certs"], "first-run": {"word-length": 4, "enabled": true}}`.
The other limits the storage types: `{"options": ["local", "nfs"]}`.
"""

from pathlib import Path
from typing import Annotated, TypeVar, get_args

import msgspec

from appliance.files import FileTooLarge, NotARegularFile, read_limited
from appliance.settings import OptionalEndpoint, Settings, SettingsError, StorageType

_FILE_LIMIT = 64 << 10
_FIX = "Correct or remove the file"


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What is on, after all sources have been asked."""

    endpoints: frozenset[OptionalEndpoint]
    first_run: bool
    word_length: int
    storage_types: tuple[StorageType, ...]


class _LegacyFirstRun(msgspec.Struct, frozen=True, rename="kebab"):
    enabled: bool | None = None
    word_length: Annotated[int, msgspec.Meta(ge=2, le=20)] | None = None


class _Legacy(msgspec.Struct, frozen=True, rename="kebab"):
    # Unknown keys and names ("parameters", endpoints of other versions) are theirs: they are read over.
    endpoints: tuple[str, ...] = ()
    first_run: _LegacyFirstRun = _LegacyFirstRun()


class _StorageOptions(msgspec.Struct, frozen=True):
    options: tuple[StorageType, ...]


Decoded = TypeVar("Decoded")


def features(settings: Settings) -> Features:
    """
    Read both files and settle what is on. Blocks for a file read; called at start only.

    The first run: what our settings or `--first-run` say, else what the legacy file says, else on exactly
    where the HTTPS address can be reached from other machines. Raises `SettingsError`.
    """
    admin = settings.admin
    legacy = _read(admin.legacy_config, _Legacy)
    storage = _read(admin.storage_options_file, _StorageOptions)
    every: tuple[OptionalEndpoint, ...] = get_args(OptionalEndpoint)
    if legacy is not None:
        endpoints = frozenset(name for name in every if name in legacy.endpoints)
    else:
        endpoints = frozenset(every if admin.endpoints is None else admin.endpoints)
    decided = legacy.first_run if legacy is not None else _LegacyFirstRun()
    return Features(
        endpoints=endpoints,
        first_run=next(
            choice
            for choice in (admin.first_run.enabled, decided.enabled, not settings.server.https.is_loopback)
            if choice is not None
        ),
        word_length=decided.word_length or admin.first_run.word_length,
        storage_types=storage.options if storage is not None else admin.storage_options,
    )


def _read(path: Path, kind: type[Decoded]) -> Decoded | None:
    """The decoded file, or None where there is none."""
    try:
        return msgspec.json.decode(read_limited(path, _FILE_LIMIT), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise SettingsError(str(path), "", f"cannot be read: {error}", _FIX) from error
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$.")
        raise SettingsError(str(path), key.rstrip("`"), reason, _FIX) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), "", f"not JSON: {error}", _FIX) from error
