"""Makes details fit for the audit log: no secrets, only JSON types, bounded."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, time
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import msgspec

from appliance.secret import MASK, Secret

SECRET_NAMES: Final = frozenset(
    ("password", "passphrase", "psk", "secret", "token", "key", "hash", "newtoken", "authorization")
)

DEPTH_LIMIT: Final = 8
ITEM_LIMIT: Final = 256
TEXT_LIMIT: Final = 4096

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Redactor:
    """
    Replaces by `***` every `Secret`, and every value whose field name means a secret, at any depth.

    A name means a secret when one of `names` is one of its words (`api_key`, `X-Token`, `newPassword`,
    `KEYS`) or the end of it without its separators (`sshkey`); names of five letters and more count
    anywhere in it (`passwordagain`). Rather one value too many than one too few.
    """

    def __init__(self, names: Iterable[str] = SECRET_NAMES) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._endings = tuple(self._names) + tuple(f"{name}{s}" for name in self._names for s in ("s", "es"))
        self._anywhere = tuple(name for name in self._names if len(name) >= 5)

    def means_secret(self, name: str) -> bool:
        """Whether a field of this name holds a secret."""
        squeezed = re.sub(r"[\W_]+", "", name).lower()
        if squeezed.endswith(self._endings) or any(part in squeezed for part in self._anywhere):
            return True
        return any(
            word in self._names or word.removesuffix("s") in self._names
            for word in (found.lower() for found in _WORDS.findall(name))
        )

    def redact(self, value: Any) -> Any:
        """A copy of `value` in JSON types only, without secrets, cut where it is too deep or too long."""
        return self._redact(value, DEPTH_LIMIT)

    def _redact(self, value: Any, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            case Secret():
                return MASK
            case Enum():
                return self._redact(value.value, depth)
            case str():
                return clip(value)
            case int():
                return int(value) if abs(value) < 1 << 63 else clip(hex(value))
            case float():
                return float(value) if isfinite(value) else str(value)
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case date() | time():
                return value.isoformat()
            case PurePath() | UUID():
                return clip(str(value))
        if depth == 0:
            return f"<{type(value).__name__}>"
        if isinstance(value, msgspec.Struct):
            value = {name: getattr(value, name) for name in value.__struct_fields__}
        if isinstance(value, Mapping):
            return self._redact_mapping(value, depth)
        if isinstance(value, Sequence | Set):
            return self._redact_items(value, depth)
        return f"<{type(value).__name__}>"

    def _redact_mapping(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        redacted: dict[str, Any] = {}
        for name, value in mapping.items():
            if len(redacted) == ITEM_LIMIT:
                redacted["…"] = f"<{len(mapping) - ITEM_LIMIT} more>"
                break
            shown = clip(name) if isinstance(name, str) else str(self._redact(name, 0))
            hidden = value is not None and isinstance(name, str) and self.means_secret(name)
            redacted[shown] = MASK if hidden else self._redact(value, depth - 1)
        return redacted

    def _redact_items(self, items: Sequence[Any] | Set[Any], depth: int) -> list[Any]:
        redacted: list[Any] = []
        for value in items:
            if len(redacted) == ITEM_LIMIT:
                redacted.append(f"<{len(items) - ITEM_LIMIT} more>")
                break
            redacted.append(self._redact(value, depth - 1))
        return sorted(redacted, key=str) if isinstance(items, Set) else redacted


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` without what UTF-8 cannot hold (lone surrogates become escapes), cut with a sign at `limit`."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
