"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.kubernetes.answers import bad_request

Test = Callable[[Mapping[str, Any]], bool]
_SET = re.compile(r"([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)")
_EQUAL = re.compile(r"([\w./-]+)\s*(==|!=|=)\s*([\w./-]*)")
_EXISTS = re.compile(r"(!?)\s*([\w./-]+)")
# What can be asked of all kinds, and of some.
_FIELDS = {
    "": ("metadata.name", "metadata.namespace"),
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase",
        "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "source",
        "type", "reportingComponent",
    ),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "secrets": ("type",),
}  # fmt: skip


def labels(text: str) -> Test:
    """A test for `a=b,c!=d,e in (f,g),h,!i`. Raises Refused."""
    tests = [_label(part) for part in re.split(r",(?![^(]*\))", text.strip()) if text.strip()]
    return lambda document: all(test(document["metadata"].get("labels") or {}) for test in tests)


def _label(part: str) -> Test:
    part = part.strip()
    if match := _SET.fullmatch(part):
        name, word, listed = match[1], match[2], {each.strip() for each in match[3].split(",")}
        if word == "in":
            return lambda found: found.get(name) in listed
        return lambda found: found.get(name) not in listed
    if match := _EQUAL.fullmatch(part):
        name, word, value = match.groups()
        if word == "!=":
            return lambda found: found.get(name) != value
        return lambda found: found.get(name) == value
    if match := _EXISTS.fullmatch(part):
        wanted, name = not match[1], match[2]
        return lambda found: (name in found) == wanted
    words = part.split()
    if len(words) > 1:
        message = f"unable to parse requirement: found '{words[1]}', expected: '=', '!=', '==', 'in', notin'"
        raise bad_request(message)
    raise bad_request(f"unable to parse requirement: found '{part}', expected: identifier")


def field_test(text: str, plural: str) -> Test:
    """A test for `metadata.name=x,status.phase!=Running`. Raises Refused."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        match = _EQUAL.fullmatch(part.strip())
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if match[1] not in (*_FIELDS[""], *_FIELDS.get(plural, ())):
            if plural in _FIELDS:
                raise bad_request(f"field label not supported: {match[1]}")
            known = '"metadata.name", "metadata.namespace"'
            raise bad_request(f'"{match[1]}" is not a known field selector: only {known}')
        tests.append((match[1], match[2] != "!=", match[3]))
    return lambda document: all((_field(document, path) == value) == wanted for path, wanted, value in tests)


def _field(document: Any, path: str) -> str:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return "" if document is None else str(document)
