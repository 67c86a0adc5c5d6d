"""Server-side apply, and what other changes do to the record of who manages which field."""

import copy
from collections.abc import Mapping
from typing import Any

from tests.support.kubernetes import fields
from tests.support.kubernetes.answers import internal, managed_by_others
from tests.support.kubernetes.fields import Fields, Path
from tests.support.kubernetes.shapes import Shape

Manager = tuple[str, str, str]  # name, operation, apiVersion


def check(document: Mapping[str, Any], shape: Shape) -> None:
    """Refuse a document that has fields its kind does not know, or values of a wrong type."""
    mistakes = fields.mistakes(document, shape)
    if mistakes:
        text = mistakes[0] if len(mistakes) == 1 else "errors:\n  " + "\n  ".join(mistakes)
        raise internal(f"failed to create typed patch object: {text}")


def managers(document: Mapping[str, Any]) -> dict[Manager, tuple[Fields, str]]:
    """Who manages what, with the time of the last change."""
    return {
        (entry["manager"], entry["operation"], entry["apiVersion"]): (fields.decode(entry["fieldsV1"]), entry["time"])
        for entry in document["metadata"].get("managedFields", [])
    }


def _record(document: dict[str, Any], found: Mapping[Manager, tuple[Fields, str]]) -> None:
    entries = [
        {
            "manager": name,
            "operation": operation,
            "apiVersion": version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields.encode(owned),
        }
        for (name, operation, version), (owned, time) in found.items()
        if owned
    ]
    document["metadata"].pop("managedFields", None)
    if entries:
        document["metadata"]["managedFields"] = entries


def apply(
    live: Mapping[str, Any] | None,
    document: Mapping[str, Any],
    shape: Shape,
    *,
    manager: str,
    force: bool,
    now: str,
) -> dict[str, Any]:
    """The object that results; the live one's record of managers is carried on. Raises Refused on conflicts."""
    this = (manager, "Apply", str(document["apiVersion"]))
    found = managers(live) if live is not None else {}
    if live is not None and not found:
        before = fields.applied(live, shape)
        found = {("before-first-apply", "Update", str(document["apiVersion"])): (before, now)}
    last, last_time = found.get(this, (frozenset(), now))
    owned = fields.applied(document, shape)
    merged = _merge(live, document, shape) if live is not None else copy.deepcopy(dict(document))
    changed, _ = fields.compare(live, merged, shape) if live is not None else (owned, frozenset())
    others = {other: entry for other, entry in found.items() if other != this}
    conflicts = [(other, path) for other, (theirs, _) in others.items() for path in sorted(theirs & changed)]
    if conflicts and not force:
        raise managed_by_others([(_told(other), fields.spell(path)) for other, path in conflicts])
    kept = {other: (theirs - changed, time) for other, (theirs, time) in others.items()}
    _prune(merged, shape, (), last - owned, frozenset().union(*(theirs for theirs, _ in kept.values()), owned))
    order = list(found) if this in found else [*found, this]
    mine = (owned, last_time if owned == last else now)
    _record(merged, {each: mine if each == this else kept[each] for each in order})
    return merged


def _told(manager: Manager) -> str:
    name, operation, version = manager
    return f'"{name}"' if operation == "Apply" else f'"{name}" using {version}'


def _merge(live: Any, applied: Any, shape: Shape) -> Any:
    if shape.is_leaf or live is None or applied is None:
        return copy.deepcopy(applied)
    if shape.form in ("struct", "map"):
        merged = copy.deepcopy(live)
        for name, value in applied.items():
            merged[name] = _merge(live.get(name), value, shape.field(name) or Shape("any"))
        return merged
    before, after = fields.elements(live, shape), fields.elements(applied, shape)
    assert shape.element is not None
    return [
        _merge(before.get(each), after[each], shape.element) if each in after else copy.deepcopy(before[each])
        for each in dict.fromkeys([*before, *after])
    ]


def _prune(value: Any, shape: Shape, path: Path, dropped: Fields, owned: Fields) -> None:
    """Take out what the manager has named before and names no more, unless somebody still owns it or a part of it."""
    if shape.is_leaf or not value:
        return
    for element, each in fields.elements(value, shape).items():
        here = (*path, element)
        if not _reaches(dropped, here):
            continue
        below = fields.child(shape, element)
        if _reaches(owned, here):
            _prune(each, below, here, dropped, owned)
            continue
        if here not in dropped and not below.is_leaf:
            _prune(each, below, here, dropped, owned)
            if each:
                continue
        if element.startswith("f:"):
            del value[element[2:]]
        else:
            value.remove(each)


def _reaches(some: Fields, path: Path) -> bool:
    """Whether a field at or below `path` is among them."""
    return any(each[: len(path)] == path for each in some)


def updated(
    old: Mapping[str, Any] | None,
    new: dict[str, Any],
    shape: Shape,
    *,
    manager: str,
    now: str,
    base: Mapping[str, Any] | None = None,
) -> None:
    """Record in `new` who has changed it otherwise than by apply. `base` is what a new object is held against."""
    found = managers(old) if old is not None else {}
    changed, removed = fields.compare(old if old is not None else base or {}, new, shape)
    if not changed and not removed:
        _record(new, found)
        return
    this = (manager, "Update", str(new["apiVersion"]))
    kept = {
        other: (theirs if other == this else theirs - changed - removed, time)
        for other, (theirs, time) in found.items()
    }
    if changed:
        mine, _ = kept.get(this, (frozenset(), now))
        kept[this] = ((mine | changed) - removed, now)
    elif this in kept:
        kept[this] = (kept[this][0] - removed, kept[this][1])
    _record(new, kept)
