"""Persistent storage options as they are posted: checked by type, written with every value quoted."""

from collections.abc import Mapping, Sequence

import msgspec

from appliance.admin.errors import Refused
from appliance.admin.rules import Rule, check, check_address, decode_object

_NAME = "a-zA-Z0-9"
_ADDRESS = "abcdef0123456789ABCDEF.:"
_PRINTABLE = "".join(chr(code) for code in range(33, 127))
_IP = Rule(_ADDRESS, _ADDRESS, 3, 45)
_SECRET = Rule("printable ASCII characters without spaces", _PRINTABLE, 3, 255)

# Reference, section 11 "Settings validation (storage)"; a port is digits (contract).
RULES: dict[str, dict[str, Rule]] = {
    "local": {},
    "nfs": {
        "mount_options": Rule("alphanumeric and .-=,", _NAME + ".-=,", 3, 255),
        "ip": _IP,
        "share": Rule("alphanumeric and .-_/", _NAME + ".-_/", 3, 255),
    },
    "aoe": {"device": Rule("alphanumeric and .-", _NAME + ".-", 3, 255)},
    "iscsi": {
        "target": Rule("alphanumeric and .-_:", _NAME + ".-_:", 3, 255),
        "ip": _IP,
        "username": _SECRET,
        "password": _SECRET,
    },
    "nbd": {
        "export_name": Rule("alphanumeric and .-_/", _NAME + ".-_/", 3, 255),
        "ip": _IP,
        "port": Rule("0-9", "0-9", 1, 5),
    },
}
FILES = ("storage.json", "storage.conf")
SECRET_OPTIONS = frozenset({"password"})
_MASK = "********"


class StorageSettings(msgspec.Struct, frozen=True):
    """Accepted storage settings, `type` first."""

    values: dict[str, str]

    @property
    def storage_json(self) -> bytes:
        """What storage.json holds."""
        return msgspec.json.encode({"storage": self.values})

    @property
    def storage_conf(self) -> bytes:
        """What storage.conf holds: `key='value'` lines that a POSIX shell reads back as they were."""
        lines = [f"{name}={quote(value)}\n" for name, value in self.values.items()]
        return "".join(lines).encode("ascii")


def quote(value: str) -> str:
    """Quote for a POSIX shell, a quote inside as `'\\''`."""
    return "'" + value.replace("'", "'\\''") + "'"


def parse(raw: bytes, types: Sequence[str], kept: Mapping[str, object]) -> StorageSettings:
    """Check a posted storage file against the `types` that may be chosen. Raises `Refused` with the reference's text.

    A secret posted back as GET shows it, masked, stays what it is in the settings `kept` until now.
    """
    storage = decode_object(raw, "settings").get("storage")
    if not isinstance(storage, dict):
        raise Refused("Missing or invalid option: storage. Expected an object")
    kind = storage.get("type")
    if not isinstance(kind, str) or kind not in RULES or kind not in types:
        raise Refused(f"Invalid option: type. Allowed: {', '.join(name for name in RULES if name in types)}")
    rules = RULES[kind]
    for name in storage:
        if name != "type" and name not in rules:
            raise Refused(f"Unknown option: {name}. Allowed: {', '.join(['type', *rules])}")
    values = {"type": kind}
    for name, rule in rules.items():
        given = storage.get(name)
        if given == _MASK and name in SECRET_OPTIONS:
            given = kept.get(name)
        values[name] = check(name, _as_text(name, given), rule)
    if "ip" in values:
        check_address("ip", values["ip"])
    if kind == "nbd" and not 0 < int(values["port"]) <= 65535:
        raise Refused("Missing or invalid string for option: port. Allowed: 1 to 65535")
    return StorageSettings(values)


def masked(values: dict[str, object]) -> dict[str, object]:
    """Replace secret values, so that GET never shows them."""
    return {name: _MASK if name in SECRET_OPTIONS else value for name, value in values.items()}


def _as_text(name: str, value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if name == "port" and is_number else value
