"""JSON Schemas as the rows of a table, for people: what a value is called, what it may be, what it means."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_MAX_DEPTH = 6
_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matches {}"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One value: its place (`disk.used`, `services[].name`), its type in words, what is said about it."""

    name: str
    type: str
    required: bool
    meaning: str


def rows(schema: Schema, components: Mapping[str, Schema]) -> list[Row]:
    """Return a row for each value inside the objects of `schema`; none where it describes no members.

    `components` are the schemas that `$ref`s name. A schema that holds itself is shown once, and nothing
    deeper than six levels is.
    """
    return list(_rows("", schema, components, frozenset()))


def type_in_words(schema: Schema, components: Mapping[str, Schema]) -> str:
    """Say what a value may be: `string`, `array of object`, `START or STOP`, `integer or null`, `file`."""
    schema, _ = _resolved(schema, components)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(type_in_words(choice, components) for choice in schema[union]))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    kind = schema.get("type")
    if kind == "string" and schema.get("format") == "binary":
        return "file"
    if kind == "string" and "format" in schema:
        return f"string ({schema['format']})"
    if kind == "array":
        return f"array of {type_in_words(schema.get('items') or {}, components)}"
    if kind == "object" and "properties" not in schema and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {type_in_words(schema['additionalProperties'], components)}"
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    return str(kind) if kind else "any"


def bounds_in_words(schema: Schema) -> str:
    """Say what limits a value: `≥ 0, ≤ 100`; empty where nothing does."""
    return ", ".join(words.format(schema[key]) for key, words in _BOUNDS if key in schema)


def _rows(place: str, schema: Schema, components: Mapping[str, Schema], inside: frozenset[str]) -> Iterator[Row]:
    schema, name = _resolved(schema, components)
    if name in inside or place.count(".") >= _MAX_DEPTH:
        return
    inside = inside | {name} if name else inside
    for union in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(union, ()):
            yield from _rows(place, choice, components, inside)
    if isinstance(schema.get("items"), Mapping):
        yield from _rows(f"{place}[]", schema["items"], components, inside)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _rows(f"{place}.*" if place else "*", schema["additionalProperties"], components, inside)
    required = schema.get("required", ())
    for key, member in schema.get("properties", {}).items():
        inner = f"{place}.{key}" if place else key
        resolved, _ = _resolved(member, components)
        yield Row(inner, type_in_words(member, components), key in required, _meaning(member, resolved))
        yield from _rows(inner, member, components, inside)


def _resolved(schema: Schema, components: Mapping[str, Schema]) -> tuple[Schema, str]:
    """Follow a reference; the name of the component comes with it, empty where there is none."""
    reference = schema.get("$ref")
    if reference is None:
        return schema, ""
    name = str(reference).rpartition("/")[2]
    return components[name], name


def _meaning(member: Schema, resolved: Schema) -> str:
    said = [str(member.get("description") or resolved.get("description") or ""), bounds_in_words(resolved)]
    if member.get("default") not in (None, ""):
        said.append(f"default {member['default']}")
    return "; ".join(text for text in said if text)
