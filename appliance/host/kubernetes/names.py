"""Names that go into the cluster's paths: checked before they do.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

import re

from appliance.host.errors import Invalid

NAME_LIMIT, LABEL_LIMIT = 253, 63
NO_NAMESPACE = "-"
"""What stands for the namespace in a path of ours where the kind has none."""

# Subdomains of RFC 1123; names of roles may have colons.
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.:]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_GROUP = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")


def check_name(field: str, name: str) -> str:
    """Return `name` if it may be an object's. Raises `Invalid`."""
    if len(name) > NAME_LIMIT or _NAME.fullmatch(name) is None or ".." in name:
        raise Invalid(field, f"up to {NAME_LIMIT} small letters, digits, `-` and `.`, a letter or digit at both ends")
    return name


def check_label(field: str, name: str) -> str:
    """Return `name` if it may be that of a namespace or of a container. Raises `Invalid`."""
    if len(name) > LABEL_LIMIT or _LABEL.fullmatch(name) is None:
        raise Invalid(field, f"up to {LABEL_LIMIT} small letters, digits and `-`, a letter or digit at both ends")
    return name


def is_group(name: str) -> bool:
    """Whether `name` may be that of an API group which is not one of the built-in ones without a dot."""
    return len(name) <= NAME_LIMIT and _GROUP.fullmatch(name) is not None


def is_plural(name: str) -> bool:
    """Whether `name` may be that of a kind in a path."""
    return len(name) <= LABEL_LIMIT and _LABEL.fullmatch(name) is not None
