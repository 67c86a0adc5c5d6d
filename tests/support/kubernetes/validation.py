"""The rules an object must keep: those that the product's tests break. Causes as the real server words them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.kubernetes.answers import Cause, invalid
from tests.support.kubernetes.kinds import Kind

Document = Mapping[str, Any]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SERVICE = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_FORMS = {
    _SUBDOMAIN: (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com'"
    ),
    _LABEL: (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc'"
    ),
    _SERVICE: (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123'"
    ),
    _KEY: (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc'"
    ),
    _VALUE: (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345'"
    ),
}
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
    "`spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing tolerations)"
)
_PORT = "must be between 1 and 65535, inclusive"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_LARGEST = 1024 * 1024


def check(kind: Kind, document: Document, before: Document | None) -> None:
    """Raise Refused where an object breaks a rule; `before` is what it replaces."""
    causes = [*_metadata(kind, document)]
    rules = {
        "Pod": _pod,
        "Deployment": _deployment,
        "ReplicaSet": _deployment,
        "Service": _service,
        "ConfigMap": _config_map,
        "Secret": _config_map,
        "CustomResourceDefinition": _definition,
    }.get(kind.name if kind.schema is None else "")
    if rules is not None:
        causes += rules(document, before)
    if kind.schema is not None:
        causes += _by_schema(document, kind.schema, "")
    if causes:
        raise invalid(kind.name, kind.group, document["metadata"].get("name", ""), causes)


def required(field: str, message: str = "") -> Cause:
    """A field that is not there."""
    return Cause("FieldValueRequired", f"Required value{f': {message}' if message else ''}", field)


def _wrong(field: str, value: Any, message: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_spell(value)}: {message}", field)


def _unsupported(field: str, value: Any, supported: Any) -> Cause:
    listed = ", ".join(json.dumps(each) for each in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {json.dumps(value)}: supported values: {listed}", field)


def _spell(value: Any) -> str:
    if value == {}:
        return "map[string]string(nil)"
    if isinstance(value, dict):
        return f"map[string]string{{{', '.join(f'{json.dumps(k)}:{json.dumps(v)}' for k, v in sorted(value.items()))}}}"
    return json.dumps(value)


def _form(field: str, value: str, pattern: str) -> Iterator[Cause]:
    if not re.fullmatch(pattern, value):
        yield _wrong(field, value, f"{_FORMS[pattern]}, regex used for validation is '{pattern}')")


def _metadata(kind: Kind, document: Document) -> Iterator[Cause]:
    metadata = document["metadata"]
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif kind.name in ("Namespace", "Service"):
        yield from _form("metadata.name", name, _LABEL if kind.name == "Namespace" else _SERVICE)
        if len(name) > 63:
            yield _wrong("metadata.name", name, "must be no more than 63 characters")
    else:
        yield from _form("metadata.name", name, _SUBDOMAIN)
        if len(name) > 253:
            yield _wrong("metadata.name", name, "must be no more than 253 characters")
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            yield from _form(f"metadata.{field}", key.rpartition("/")[2], _KEY)
            if field == "labels":
                yield from _form("metadata.labels", value, _VALUE)


def _pod(pod: Document, before: Document | None) -> Iterator[Cause]:
    yield from _pod_spec(pod["spec"], "spec")
    if before is not None:
        changed = [_frozen(each) for each in (before["spec"], pod["spec"])]
        if changed[0] != changed[1]:
            yield Cause("FieldValueForbidden", f"Forbidden: {_POD_UPDATE}", "spec")


def _frozen(spec: Document) -> dict[str, Any]:
    """What of a pod may not change."""
    kept = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    for field in ("containers", "initContainers"):
        kept[field] = [{**each, "image": ""} for each in spec.get(field) or []]
    return kept


def _pod_spec(spec: Document, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or []):
            here = f"{path}.{field}[{index}]"
            if not container.get("name"):
                yield required(f"{here}.name")
            else:
                yield from _form(f"{here}.name", container["name"], _LABEL)
            if container.get("name") in names:
                yield Cause("FieldValueDuplicate", f"Duplicate value: {json.dumps(container['name'])}", f"{here}.name")
            names.add(container.get("name", ""))
            if not container.get("image"):
                yield required(f"{here}.image")
            for number, port in enumerate(container.get("ports") or []):
                if not 0 < port.get("containerPort", 0) < 65536:
                    value = port.get("containerPort", 0)
                    yield _wrong(f"{here}.ports[{number}].containerPort", value, _PORT)
    if spec["restartPolicy"] not in ("Always", "OnFailure", "Never"):
        yield _unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))


def _deployment(deployment: Document, before: Document | None) -> Iterator[Cause]:
    spec = deployment["spec"]
    if spec["replicas"] < 0:
        yield _wrong("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    selector = spec.get("selector")
    labels = spec["template"]["metadata"].get("labels") or {}
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield Cause(
            "FieldValueInvalid",
            f"Invalid value: {_selector(selector)}: empty selector is invalid for deployment",
            "spec.selector",
        )
    if selector is None or any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        yield _wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")
    if before is not None and before["spec"].get("selector") != selector:
        yield Cause("FieldValueInvalid", f"Invalid value: {_selector(selector)}: field is immutable", "spec.selector")


def _selector(selector: Document | None) -> str:
    labels = _spell((selector or {}).get("matchLabels") or {})
    return f"v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}"


def _service(service: Document, before: Document | None) -> Iterator[Cause]:
    spec = service["spec"]
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        yield required("spec.ports")
    for index, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{index}].name")
        if not 0 < port.get("port", 0) < 65536:
            yield _wrong(f"spec.ports[{index}].port", port.get("port", 0), _PORT)
        if isinstance(port["targetPort"], int) and not 0 < port["targetPort"] < 65536:
            yield _wrong(f"spec.ports[{index}].targetPort", port["targetPort"], _PORT)
    if spec["type"] not in _TYPES:
        yield _unsupported("spec.type", spec["type"], _TYPES)
    address = before["spec"].get("clusterIP") if before is not None else None
    if address and spec.get("clusterIP") != address:
        value = json.dumps(spec.get("clusterIP"))
        message = f"Invalid value: []string{{{value}}}: may not change once set"
        yield Cause("FieldValueInvalid", message, "spec.clusterIPs[0]")


def _config_map(document: Document, before: Document | None) -> Iterator[Cause]:
    size = sum(len(str(value)) for value in (document.get("data") or {}).values())
    if size > _LARGEST:
        yield Cause("FieldValueTooLong", f"Too long: must have at most {_LARGEST} bytes", "[]")


def _definition(definition: Document, before: Document | None) -> Iterator[Cause]:
    spec = definition["spec"]
    plural, group = spec["names"].get("plural", ""), spec.get("group", "")
    name = definition["metadata"].get("name", "")
    if name != f"{plural}.{group}":
        yield _wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        if spec.get("scope"):
            yield _unsupported("spec.scope", spec["scope"], ("Cluster", "Namespaced"))
        else:
            yield required("spec.scope")
    for index, version in enumerate(spec.get("versions") or []):
        if "openAPIV3Schema" not in version.get("schema", {}):
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")
    if [bool(version.get("storage")) for version in spec.get("versions") or []].count(True) != 1:
        message = "must have exactly one version marked as storage version"
        yield Cause("FieldValueInvalid", f"Invalid value: {_spell(spec.get('versions'))}: {message}", "spec.versions")


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip


def _by_schema(value: Any, schema: Document, path: str) -> Iterator[Cause]:
    """What of a custom object does not fit its definition's schema."""
    kind = schema.get("type")
    if value is None or (kind is not None and not _is(value, kind)):
        if not schema.get("nullable") and kind is not None:
            found = "null" if value is None else _json_type(value)
            message = f'Invalid value: "{found}": {path} in body must be of type {kind}: "{found}"'
            yield Cause("FieldValueInvalid", message, path)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield _unsupported(path, value, schema["enum"])
    for word, fails, text in (
        ("minimum", lambda limit: value < limit, "should be greater than or equal to"),
        ("maximum", lambda limit: value > limit, "should be less than or equal to"),
    ):
        if word in schema and fails(schema[word]):
            yield Cause("FieldValueInvalid", f"Invalid value: {value}: {path} in body {text} {schema[word]}", path)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        message = f"Invalid value: {json.dumps(value)}: {path} in body should match '{schema['pattern']}'"
        yield Cause("FieldValueInvalid", message, path)
    if kind == "array":
        for index, each in enumerate(value):
            yield from _by_schema(each, schema.get("items", {}), f"{path}[{index}]")
    if kind == "object":
        for name in schema.get("required", ()):
            if name not in value:
                yield required(f"{path}.{name}".lstrip("."))
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from _by_schema(value[name], below, f"{path}.{name}".lstrip("."))


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _JSON_TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")


def _json_type(value: Any) -> str:
    return next(name for name in _JSON_TYPES if _is(value, name))
