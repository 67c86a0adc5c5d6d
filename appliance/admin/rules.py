"""The reference's rules for strings, and its texts for what breaks them."""

from dataclasses import dataclass
from ipaddress import ip_address

import msgspec

from appliance.admin.errors import Refused

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_RANGES = {"a-z": _LETTERS, "A-Z": _LETTERS.upper(), "0-9": "0123456789"}


@dataclass(frozen=True)
class Rule:
    """Allowed characters (`a-z`, `A-Z` and `0-9` at the start stand for ranges) and length of a string.

    `allowed` is how the error text names the characters.
    """

    allowed: str
    characters: str
    least: int
    most: int
    required: bool = False

    def permits(self, text: str) -> bool:
        """Whether `text` is made of allowed characters only."""
        return set(text) <= expand(self.characters)


def expand(characters: str) -> frozenset[str]:
    """Expand the ranges in `characters`."""
    found: set[str] = set()
    for range_, members in _RANGES.items():
        if range_ in characters:
            found.update(members)
            characters = characters.replace(range_, "")
    return frozenset(found | set(characters))


def check(name: str, value: object, rule: Rule) -> str:
    """Return `value` when it is a string that keeps `rule`. Raises `Refused` with the reference's text."""
    if not isinstance(value, str) or not value or not rule.permits(value):
        raise Refused(f"Missing or invalid string for option: {name}. Allowed: {rule.allowed}")
    if not rule.least <= len(value) <= rule.most:
        raise Refused(f"Invalid string length for option: {name}. Allowed: >= {rule.least} and <= {rule.most}")
    return value


def decode_object(raw: bytes, name: str) -> dict[str, object]:
    """Decode a JSON object. Raises `Refused` for anything else, or one nested beyond reason."""
    try:
        return msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(f"Missing or invalid JSON in option: {name}. Expected an object") from None


def check_address(name: str, value: str) -> None:
    """Raise `Refused` unless `value` is an IPv4 or IPv6 address."""
    try:
        ip_address(value)
    except ValueError:
        raise Refused(f"Missing or invalid string for option: {name}. Allowed: an IPv4 or IPv6 address") from None
