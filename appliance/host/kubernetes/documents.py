"""Objects as they are sent to be applied: one or several, as JSON or YAML, looked through before any of it counts."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.host.errors import Invalid
from appliance.host.kubernetes.depth import is_deeper
from appliance.host.kubernetes.names import check_label, check_name
from appliance.host.kubernetes.yaml_reader import DEPTH_LIMIT, read_yaml

SIZE_LIMIT = 4 << 20
"""Bytes of a body: more than twice what a cluster takes in one object."""
DOCUMENT_LIMIT = 100

_API_VERSION = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?v[0-9a-z]{1,30}")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


@dataclass(slots=True)
class Document:
    """An object to be applied; `place` says where it stood. `namespace` is empty where it names none."""

    place: str
    api_version: str
    kind: str
    namespace: str
    name: str
    content: dict[str, Any]

    @property
    def title(self) -> str:
        """What people call it: `Deployment default/web`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def put_into(self, namespace: str) -> None:
        """Give it a namespace."""
        self.namespace = namespace
        self.content["metadata"]["namespace"] = namespace

    def complete(self) -> None:
        """Say what a Service's ports leave out, which is TCP: by that and their number a cluster tells them apart, and
        before 1.21 it does not know what is meant where nothing is said."""
        spec = self.content.get("spec")
        if (self.api_version, self.kind) == ("v1", "Service") and isinstance(spec, dict):
            ports = spec.get("ports")
            for port in ports if isinstance(ports, list) else ():
                if isinstance(port, dict):
                    port.setdefault("protocol", "TCP")

    def encode(self) -> bytes:
        """As JSON. Raises `Invalid` for a text that is not Unicode."""
        try:
            return msgspec.json.encode(self.content)
        except UnicodeEncodeError:
            raise Invalid("body", f"{self.place} has a text with half of a surrogate pair") from None


def read_documents(body: bytes, *, is_yaml: bool) -> list[Document]:
    """The objects of a body, at least one. Blocking: a large one takes a second. Raises `Invalid`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Invalid("body", "must be UTF-8") from None
    found = [
        _document(place, value)
        for place, value in (_of_yaml(text) if is_yaml else [("the body", _of_json(text))])
        for place, value in _flat(place, value)
    ]
    if not found:
        raise Invalid("body", "an object is required")
    if len(found) > DOCUMENT_LIMIT:
        raise Invalid("body", f"more than {DOCUMENT_LIMIT} objects")
    _refuse_repeated(found)
    return found


def _of_yaml(text: str) -> Iterator[tuple[str, Any]]:
    return ((f"the document of line {line}", value) for line, value in read_yaml(text, DOCUMENT_LIMIT))


def _of_json(text: str) -> Any:
    if not text.strip():
        raise Invalid("body", "an object is required")
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_no_number, parse_float=_number)
    except json.JSONDecodeError as error:
        raise Invalid("body", f"line {error.lineno}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
        raise Invalid("body", "not JSON that can be read here") from None
    if is_deeper(value, DEPTH_LIMIT):
        raise Invalid("body", f"nested deeper than {DEPTH_LIMIT} times")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Invalid("body", f"{twice[:100]!r} stands twice in the same object")
    return found


def _number(text: str) -> float:
    found = float(text)
    if math.isinf(found):  # which would be sent as null
        raise Invalid("body", "a number beyond all bounds")
    return found


def _no_number(text: str) -> Any:
    raise Invalid("body", f"{text} is no number that JSON has")


def _flat(place: str, value: Any) -> Sequence[tuple[str, Any]]:
    """The items of a `List`, and anything else as it is."""
    if not isinstance(value, dict) or value.get("kind") != "List" or value.get("apiVersion") != "v1":
        return [(place, value)]
    items = value.get("items")
    if not isinstance(items, list):
        raise Invalid("body", f"{place}: items must be an array")
    return [(f"item {number} of {place}", each) for number, each in enumerate(items, 1)]


def _document(place: str, value: Any) -> Document:
    if not isinstance(value, dict):
        raise Invalid("body", f"{place} is no object")
    api_version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(api_version, str) or _API_VERSION.fullmatch(api_version) is None:
        raise Invalid("apiVersion", f"{place} must say it, as v1 or apps/v1")
    if not isinstance(kind, str) or _KIND.fullmatch(kind) is None or kind == "List":
        raise Invalid("kind", f"{place} must say it, as Deployment")
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        raise Invalid("metadata.name", f"{place} must say it")
    namespace = "" if metadata.get("namespace") is None else metadata["namespace"]
    if not isinstance(namespace, str):
        raise Invalid("metadata.namespace", f"a name, in {place}")
    check_name("metadata.name", name)
    if namespace:
        check_label("metadata.namespace", namespace)
    return Document(place, api_version, kind, namespace, name, value)


def _refuse_repeated(documents: Sequence[Document]) -> None:
    seen: set[tuple[str, str, str, str]] = set()
    for each in documents:
        identity = (each.api_version.rpartition("/")[0], each.kind, each.namespace, each.name)
        if identity in seen:
            raise Invalid("body", f"{each.title} stands there twice")
        seen.add(identity)
