"""What is said about settings: the error that tells how to put a file right, and the table of all keys."""

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

COMMAND_LINE = "command line"

_AT = re.compile(r"\A(?P<reason>.*?)(?: - at `\$(?P<path>.*)`)?\Z", re.DOTALL)
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "text in quotes",
}
_UNKNOWN = re.compile(r"\AObject contains unknown field `(?P<name>.*)`\Z", re.DOTALL)


class SettingsError(Exception):
    """Settings that cannot be used; the text says in one line where, which key, why and what to do."""

    def __init__(self, file: str, key: str, reason: str, fix: str) -> None:
        self.file = file
        self.key = key
        self.reason = reason
        self.fix = fix
        super().__init__(": ".join(part for part in (file, key, reason) if part) + f". {fix.rstrip('.')}.")


class Key(NamedTuple):
    """One key as the documentation shows it."""

    section: str
    name: str
    default: str
    description: str

    @property
    def dotted(self) -> str:
        """The key with its section."""
        return f"{self.section}.{self.name}"


def keys(settings: type[msgspec.Struct]) -> Iterator[Key]:
    """Every key of every section, in the order of declaration."""
    for section, kind in get_type_hints(settings).items():
        yield from _section_keys(section, kind)


def explained(file: str, error: msgspec.ValidationError, settings: type[msgspec.Struct]) -> SettingsError:
    """The error for people, from what the decoder says about `file`."""
    match = _AT.match(str(error))
    reason, path = (match["reason"], match["path"] or "") if match else (str(error), "")
    where = path.lstrip(".")
    known = {key.dotted: key for key in keys(settings)}
    if unknown := _UNKNOWN.match(reason):
        name = ".".join(part for part in (where, unknown["name"]) if part)
        return SettingsError(file, name, "unknown key", _suggestion(name, where, known))
    plain = re.sub(r"\[[^\]]*\]", "", where)
    if documented := known.get(plain):
        fix = f"It takes: {documented.description} Default: {documented.default}"
    else:
        fix = "`appliance check-config --explain` lists every key"
    return SettingsError(file, where, _readable(reason), fix)


def _section_keys(section: str, kind: type[msgspec.Struct]) -> Iterator[Key]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            for inner in _section_keys(section, hint):
                yield inner._replace(name=f"{field.name}.{inner.name}")
            continue
        meta = next(part for part in get_args(hint) if isinstance(part, msgspec.Meta))
        said = (meta.extra or {}).get("default")
        yield Key(section, field.name, said or _toml(field.default), meta.description or "")


def _suggestion(name: str, section: str, known: dict[str, Key]) -> str:
    sections = sorted({key.section for key in known.values()})
    if not section:
        return f"Sections are {', '.join(f'[{each}]' for each in sections)}; put keys below one of them"
    elsewhere = [dotted for dotted in known if dotted.split(".", 1)[1] == name.rsplit(".", 1)[-1]]
    if close := elsewhere or difflib.get_close_matches(name, known, n=1, cutoff=0.8):
        return f"Did you mean {close[0]}? `appliance check-config --explain` lists every key"
    return "Remove it; `appliance check-config --explain` lists every key"


def _readable(reason: str) -> str:
    """The decoder's words in those of a settings file."""

    def renamed(match: re.Match[str]) -> str:
        kinds = [kind for kind in match[1].split(" | ") if kind != "null"]
        return " or ".join(_KINDS.get(kind, kind) for kind in kinds)

    reason = re.sub(r"`([a-z |]+)`", renamed, reason)
    return reason[:1].lower() + reason[1:] if reason.startswith(("Expected", "Invalid")) else reason


def _toml(value: Any) -> str:
    """A default as it would stand in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'
