"""Merge patches (RFC 7396) and Kubernetes' strategic ones."""

import copy
from typing import Any

from tests.support.kubernetes import fields
from tests.support.kubernetes.shapes import ANY, Shape

Document = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """The target after a merge patch; neither is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def strategic(target: Any, patch: Any, shape: Shape) -> Any:
    """The target after a strategic merge patch: lists with keys are merged by them. Knows `$patch: delete, replace`."""
    if isinstance(patch, dict) and shape.form in ("struct", "map"):
        directive = patch.get("$patch")
        if directive == "replace":
            return {name: value for name, value in patch.items() if name != "$patch"}
        merged = copy.deepcopy(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = strategic(merged.get(name), value, shape.field(name) or ANY)
        return merged
    if isinstance(patch, list) and shape.form in ("keyed", "set"):
        return _listed(target or [], patch, shape)
    return merge(target, patch)


def _listed(target: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    assert shape.element is not None
    found = fields.elements(copy.deepcopy(target), shape)
    for each in patch:
        (element,) = fields.elements([each], shape)
        if isinstance(each, dict) and each.get("$patch") == "delete":
            found.pop(element, None)
        else:
            found[element] = strategic(found.get(element), each, shape.element)
    return list(found.values())
