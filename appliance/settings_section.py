"""What the declarations of settings are made of: a section of the file, and what is said of a key."""

from typing import Any

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file; unknown keys are errors, so that a misspelt one is not silently ignored."""


def key(description: str, *, default: str | None = None, **bounds: Any) -> msgspec.Meta:
    """What a key means; `default` says it in words where the value alone would not."""
    return msgspec.Meta(description=description, extra={"default": default}, **bounds)
