"""Names of interfaces: the kernel's rule for all, a stricter one for those that are to be made."""

import re

from appliance.host.errors import Invalid

LIMIT = 15
"""Bytes of a name (IFNAMSIZ without the NUL)."""

NEW = r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$"
"""What a new name may be: nothing that a tool would take for an option, or the kernel for a pattern (`%d`)."""

_RESERVED = ("all", "default")  # the names of the settings for all interfaces, /proc/sys/net/ipv4/conf


def check(name: str, field: str) -> str:
    """`name`, if an interface can have it (dev_valid_name() in the kernel's net/core/dev.c). Raises `Invalid`."""
    if not 1 <= len(name.encode("utf-8", "replace")) <= LIMIT:
        raise Invalid(field, f"expected the name of an interface, 1 to {LIMIT} bytes")
    if name in (".", ".."):
        raise Invalid(field, "`.` and `..` are no names of interfaces")
    if any(character in "/:" or character.isspace() or not character.isprintable() for character in name):
        raise Invalid(field, "the name of an interface has no `/`, no `:`, no spaces and no control characters")
    return name


def check_new(name: str, field: str) -> str:
    """`name`, if a new interface may have it. Raises `Invalid`."""
    check(name, field)
    if re.fullmatch(NEW, name) is None or name in _RESERVED:
        raise Invalid(
            field,
            "expected letters, digits, `_`, `.`, `@`, `-`, the first no `-`, `.` or `@`, and not `all` or `default`",
        )
    return name
