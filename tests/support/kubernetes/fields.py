"""Sets of fields: who manages what, as FieldsV1 writes it (Kubernetes, "Server-Side Apply", and structured-merge-diff).

A path is a tuple of elements as FieldsV1 spells them: `f:NAME`, `k:{"name":"main"}` for an element of a keyed list,
`v:VALUE` for one of a set.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.kubernetes.shapes import Shape

Path = tuple[str, ...]
Fields = frozenset[Path]

# What nobody manages: the server's own.
_UNMANAGED = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "resourceVersion",
            "managedFields",
        ]
    ),
}


def compact(value: object) -> str:
    """JSON without spaces, with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def key_of(element: Mapping[str, Any], shape: Shape) -> str:
    """The path element of an element of a keyed list."""
    return "k:" + compact({key: element.get(key, default) for key, default in shape.keys})


def elements(value: Any, shape: Shape) -> dict[str, Any]:
    """The children of a value that is no leaf, by path element, in order."""
    if not value:
        return {}
    if shape.form == "keyed":
        return {key_of(each, shape): each for each in value}
    if shape.form == "set":
        return {f"v:{compact(each)}": each for each in value}
    return {f"f:{name}": each for name, each in value.items()}


def child(shape: Shape, element: str) -> Shape:
    """The shape of a child."""
    found = shape.field(element[2:]) if element.startswith("f:") else shape.element
    return found or Shape("any")


def applied(value: Any, shape: Shape) -> Fields:
    """The fields that an applied document names."""
    return frozenset(_applied(value, shape, ())) - _UNMANAGED


def _applied(value: Any, shape: Shape, path: Path) -> Iterator[Path]:
    if shape.is_leaf:
        yield path
        return
    for element, each in elements(value, shape).items():
        below = child(shape, element)
        yield from _applied(each, below, (*path, element))
        if not element.startswith("f:") or shape.form == "map":
            yield (*path, element)


def compare(old: Any, new: Any, shape: Shape) -> tuple[Fields, Fields]:
    """The fields that were added or modified, and those that were removed."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _compare(old, new, shape, (), changed, removed)
    return frozenset(changed - _UNMANAGED), frozenset(removed - _UNMANAGED)


def _compare(old: Any, new: Any, shape: Shape, path: Path, changed: set[Path], removed: set[Path]) -> None:
    if shape.is_leaf:
        if new is None and old is not None:
            removed.add(path)
        elif old != new:
            changed.add(path)
        return
    before, after = elements(old, shape), elements(new, shape)
    if old is None and new is not None:
        changed.add(path)
    elif new is None and old is not None:
        removed.add(path)
    for element in dict.fromkeys([*before, *after]):
        _compare(before.get(element), after.get(element), child(shape, element), (*path, element), changed, removed)


def encode(fields: Fields) -> dict[str, Any]:
    """A set as FieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(fields):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        if any(other[: len(path)] == path and len(other) > len(path) for other in fields):
            node["."] = {}
    return tree


def decode(tree: Mapping[str, Any]) -> Fields:
    """FieldsV1 as a set."""
    return frozenset(_decode(tree, ()))


def _decode(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    if path and (not tree or "." in tree):
        yield path
    for element, below in tree.items():
        if element != ".":
            yield from _decode(below, (*path, element))


def spell(path: Path) -> str:
    """A path as messages have it: `.spec.containers[name="main"].image`."""
    text = ""
    for element in path:
        if element.startswith("f:"):
            text += f".{element[2:]}"
        elif element.startswith("k:"):
            pairs = json.loads(element[2:])
            text += f"[{','.join(f'{name}={compact(value)}' for name, value in pairs.items())}]"
        else:
            text += f"[={element[2:]}]"
    return text


def mistakes(value: Any, shape: Shape) -> list[str]:
    """What of a document does not fit its shape; empty where all does."""
    return list(_mistakes(value, shape, ()))


_SCALAR_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}
_SCALAR_NAMES = {"string": "string", "number": "numeric (int or float)", "boolean": "boolean"}


def _mistakes(value: Any, shape: Shape, path: Path) -> Iterator[str]:
    if value is None or shape.form in ("any", "scalar"):
        return
    if shape.form in _SCALAR_TYPES:
        fits = isinstance(value, _SCALAR_TYPES[shape.form]) and isinstance(value, bool) == (shape.form == "boolean")
        if not fits:
            yield f"{spell(path)}: expected {_SCALAR_NAMES[shape.form]}, got *value.valueUnstructured"
        return
    if shape.form in ("struct", "map"):
        if not isinstance(value, dict):
            yield f"{spell(path)}: expected map, got &{{{value}}}"
            return
        for name, each in value.items():
            below = shape.field(name)
            if below is None:
                yield f"{spell((*path, f'f:{name}'))}: field not declared in schema"
            else:
                yield from _mistakes(each, below, (*path, f"f:{name}"))
        return
    if not isinstance(value, list):
        yield f"{spell(path)}: expected list, got &{{{value}}}"
        return
    yield from _list_mistakes(value, shape, path)


def _list_mistakes(value: list[Any], shape: Shape, path: Path) -> Iterator[str]:
    assert shape.element is not None
    seen: set[str] = set()
    for index, each in enumerate(value):
        element = f"v:{index}"
        if shape.form == "keyed":
            absent = [key for key, default in shape.keys if default is None and (each or {}).get(key) is None]
            if absent:
                yield (
                    f"{spell(path)}: element {index}: associative list with keys has an element that omits key field "
                    f'"{absent[0]}" (and doesn\'t have default value)'
                )
                continue
            element = key_of(each, shape)
        elif shape.form == "set":
            element = f"v:{compact(each)}"
        if shape.form != "list" and element in seen:
            yield f"{spell(path)}: duplicate entries for key {spell((element,))}"
        seen.add(element)
        yield from _mistakes(each, shape.element, (*path, element))
