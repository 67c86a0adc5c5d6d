"""The structure of objects as server-side apply sees it: which fields there are, and which lists have keys.

`shapes.json` has it for the built-in kinds, drawn from the OpenAPI document of Kubernetes 1.20: a struct is a mapping
from fields to expressions. An expression is `string`, `number`, `boolean`, `scalar` (of any type), `any` (whole,
unchecked), the name of a struct, `map<E>`, `list<E>` (whole), `set<E>`, or `keyed(KEY,KEY=DEFAULT)<E>`. `!` at the end
of a struct or map makes it whole: owned by one manager or another, never in parts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SCALARS = ("string", "number", "boolean", "scalar")
_EXPRESSION = re.compile(r"(?:(map|list|set|keyed)(?:\(([^)]*)\))?<(.*)>|(\w+))(!?)")


@dataclass(frozen=True)
class Shape:
    """What a value may be. `form` is a scalar's, or any, struct, map, list, set, keyed."""

    form: str
    element: "Shape | None" = None
    keys: tuple[tuple[str, str | int | None], ...] = ()
    whole: bool = False
    struct: str = ""
    inline: "Mapping[str, Shape] | None" = None

    def field(self, name: str) -> "Shape | None":
        """The shape of a struct's field, or of a map's value; None where there is no such field."""
        if self.form == "map":
            return self.element
        return (self.inline if self.inline is not None else _struct(self.struct)).get(name)

    @property
    def is_leaf(self) -> bool:
        """Whether it has one owner as a whole."""
        return self.whole or self.form in (*SCALARS, "any", "list")


ANY = Shape("any")


@cache
def _known() -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("shapes.json").read_text())
    return known


@cache
def _struct(name: str) -> Mapping[str, Shape]:
    return {field: parse(expression) for field, expression in _known()[name].items()}


@cache
def parse(expression: str) -> Shape:
    """An expression as a shape."""
    match = _EXPRESSION.fullmatch(expression)
    assert match is not None, expression
    form, keys, element, name, whole = match.groups()
    if name is not None:
        return Shape(name) if name in (*SCALARS, "any") else Shape("struct", struct=name, whole=bool(whole))
    pairs = [key.partition("=") for key in (keys or "").split(",") if key]
    known = tuple((key, _default(text) if given else None) for key, given, text in pairs)
    return Shape(form, parse(element), known, bool(whole))


def _default(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def of_schema(schema: Mapping[str, Any]) -> Shape:
    """The shape of an OpenAPI schema, as a custom resource's."""
    if schema.get("x-kubernetes-int-or-string"):
        return Shape("scalar")
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return Shape("number")
    if kind in ("string", "boolean"):
        return Shape(str(kind))
    if kind == "array":
        return _of_list(schema)
    whole = schema.get("x-kubernetes-map-type") == "atomic"
    if kind == "object" and "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inline = {name: of_schema(each) for name, each in schema["properties"].items()}
        return Shape("struct", inline=inline, whole=whole)
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Shape("map", of_schema(schema["additionalProperties"]), whole=whole)
    return ANY


def _of_list(schema: Mapping[str, Any]) -> Shape:
    element = of_schema(schema.get("items", {}))
    how = schema.get("x-kubernetes-list-type")
    if how == "map":
        properties = schema["items"].get("properties", {})
        keys = [(key, properties.get(key, {}).get("default")) for key in schema["x-kubernetes-list-map-keys"]]
        return Shape("keyed", element, tuple(keys))
    return Shape("set" if how == "set" else "list", element)


def of_custom_kind(schema: Mapping[str, Any]) -> Shape:
    """The shape of a custom resource with this schema: what all objects have is added."""
    shape = of_schema({"type": "object", **schema})
    common = {"apiVersion": Shape("string"), "kind": Shape("string"), "metadata": parse("ObjectMeta")}
    return Shape("struct", inline={**(shape.inline or {}), **common}) if shape.form == "struct" else shape
