"""Create, apply, patch and delete."""

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.kubernetes import applying, defaults, fields, patching, validation
from tests.support.kubernetes.answers import (
    Cause,
    already_exists,
    bad_request,
    details,
    failure,
    internal,
    invalid,
    not_found,
    success,
)
from tests.support.kubernetes.kinds import Kind
from tests.support.kubernetes.web import Request
from tests.support.kubernetes.world import Document, World, identity, now

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_MANAGER_LENGTH = 128
_UNSAID = {"reportingComponent": "", "reportingInstance": ""}
_DELETING = {
    "type": "Terminating",
    "status": "True",
    "reason": "InstanceDeletionPending",
    "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
}


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: dates are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def create(world: World, kind: Kind, namespace: str, request: Request) -> Document:
    """POST of an object. Raises Refused."""
    document = _decode_json(request.body)
    _check_identity(kind, document, namespace, None)
    manager = request.parameter("fieldManager") or _by_agent(request)
    metadata = document.setdefault("metadata", {})
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + identity()["uid"][:5]
    if world.store.get(kind, namespace, metadata.get("name", "")) is not None:
        raise already_exists(kind.plural, kind.group, metadata["name"])
    if kind.schema is not None:
        document = _pruned(document, kind.schema, top=True)
    document.setdefault("kind", kind.name)
    document.setdefault("apiVersion", kind.api_version)
    metadata.pop("managedFields", None)
    return _store_new(world, kind, namespace, document, dry=_dry(request), creator=manager)


def patch(world: World, kind: Kind, namespace: str, name: str, request: Request) -> tuple[int, Document]:
    """PATCH in one of its forms; the status and the object. Raises Refused."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    _check_options(request, apply=content_type == APPLY)
    if content_type == APPLY:
        return _apply(world, kind, namespace, name, request)
    return 200, _change(world, kind, namespace, name, request, content_type)


def _apply(world: World, kind: Kind, namespace: str, name: str, request: Request) -> tuple[int, Document]:
    document = _decode_yaml(request.body)
    metadata = document.setdefault("metadata", {})
    live = world.store.get(kind, namespace, name)
    if document.get("apiVersion", "") != kind.api_version:
        found = document.get("apiVersion", "")
        text = f"Specified patch version: {found}, expected: {kind.api_version}"
        raise bad_request(f"Incorrect version specified in apply patch. {text}")
    if metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if document.get("kind", "") != kind.name:
        group = kind.api_version if kind.group else f"/{kind.version}"
        raise internal(
            f"failed to create typed patch object: no corresponding type for {group}, Kind={document.get('kind', '')}"
        )
    applying.check(document, kind.shape)
    _check_identity(kind, document, namespace, name)
    metadata["name"] = name
    if kind.namespaced:
        metadata["namespace"] = namespace
    version = metadata.pop("resourceVersion", None)
    if live is not None:
        world.store.check_version(kind, live, version)
    manager, force = request.parameter("fieldManager"), request.flag("force")
    merged = applying.apply(live, document, kind.shape, manager=manager, force=force, now=now())
    if live is None:
        return 201, _store_new(world, kind, namespace, merged, dry=_dry(request))
    return 200, _store_changed(world, kind, live, merged, dry=_dry(request))


def _change(world: World, kind: Kind, namespace: str, name: str, request: Request, content_type: str) -> Document:
    live = world.store.get(kind, namespace, name)
    if live is None:
        raise not_found(kind.plural, kind.group, name)
    try:
        document = json.loads(request.body)
    except ValueError:
        raise internal("Invalid JSON Patch") from None
    base = copy.deepcopy(live)
    if content_type == STRATEGIC:
        changed = patching.strategic(base, document, kind.shape)
    else:
        changed = patching.merge(base, document)
    version = document.get("metadata", {}).get("resourceVersion")
    world.store.check_version(kind, live, version)
    for field in ("kind", "apiVersion"):
        changed[field] = live[field]
    for field in ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "managedFields"):
        if field in live["metadata"]:
            changed["metadata"][field] = live["metadata"][field]
    if kind.schema is not None:
        changed = _pruned(changed, kind.schema, top=True)
    elif wrong := [each for each in fields.mistakes(changed, kind.shape) if "not declared" not in each]:
        raise invalid("", "", "", [Cause("FieldValueInvalid", f"Invalid value: {wrong[0]}", "patch")])
    manager = request.parameter("fieldManager") or _by_agent(request)
    applying.updated(live, changed, kind.shape, manager=manager, now=now())
    return _store_changed(world, kind, live, changed, dry=_dry(request))


def _store_new(
    world: World, kind: Kind, namespace: str, document: Document, *, dry: bool, creator: str = ""
) -> Document:
    """`creator` manages all of it, where it was not applied."""
    name = document["metadata"].get("name", "")
    if kind.namespaced:
        home = world.store.get(world.namespaces, "", namespace)
        if home is None:
            raise not_found("namespaces", "", namespace)
        if home["metadata"].get("deletionTimestamp"):
            raise _ending(kind, namespace, name)
        document["metadata"]["namespace"] = namespace
    document["metadata"] |= identity()
    if kind.counts_generations:
        document["metadata"]["generation"] = 1
    if "status" in kind.subresources:
        document.pop("status", None)
    if kind.schema is None:
        defaults.complete(document)
    if creator:
        applying.updated(None, document, kind.shape, manager=creator, now=now(), base=_empty(kind))
    if kind.schema is None:
        defaults.admit(document)
    validation.check(kind, document, None)
    return document if dry else world.store.put(kind, document)


def _store_changed(world: World, kind: Kind, live: Document, document: Document, *, dry: bool) -> Document:
    if "status" in kind.subresources:
        document.pop("status", None)
        if "status" in live:
            document["status"] = copy.deepcopy(live["status"])
    if kind.schema is None:
        defaults.complete(document)
        defaults.admit(document)
    validation.check(kind, document, live)
    document["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    if document == live:
        return live
    if kind.counts_generations and _substance(document) != _substance(live):
        document["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
    if dry:
        return document
    stored = world.store.put(kind, document)
    had, has = (each["metadata"].get("finalizers") for each in (live, stored))
    if had and not has and stored["metadata"].get("deletionTimestamp"):
        world.store.remove(kind, stored)
    return stored


def _substance(document: Mapping[str, Any]) -> Document:
    """What of an object counts as a new generation of it where it is changed."""
    found = {name: value for name, value in document.items() if name not in ("metadata", "status")}
    if document["kind"] == "Deployment":
        found["annotations"] = document["metadata"].get("annotations")
    return found


def delete(world: World, kind: Kind, namespace: str, name: str, request: Request) -> Document:
    """DELETE of an object; what is answered. Raises Refused."""
    live = world.store.get(kind, namespace, name)
    if live is None:
        raise not_found(kind.plural, kind.group, name)
    options = _decode_json(request.body) if request.body else {}
    wanted = options.get("preconditions") or {}
    for field in ("uid", "resourceVersion"):
        if wanted.get(field) and wanted[field] != live["metadata"].get(field):
            title = "UID" if field == "uid" else "ResourceVersion"
            found = live["metadata"][field]
            text = f"Precondition failed: {title} in precondition: {wanted[field]}, {title} in object meta: {found}"
            message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {text}'
            raise failure(409, "Conflict", message, details(name, kind.group, kind.name))
    grace = request.parameter("gracePeriodSeconds") or options.get("gracePeriodSeconds")
    if _dry(request) or options.get("dryRun") == ["All"]:
        return live
    return remove(world, kind, live, None if grace is None else int(grace))


def remove(world: World, kind: Kind, live: Document, grace: int | None = None) -> Document:
    """Begin or do what a deletion does: the answer."""
    metadata = live["metadata"]
    ending = copy.deepcopy(live)
    if kind == world.pods:
        return _remove_pod(world, live, grace)
    if kind == world.namespaces:
        ending["status"] = {"phase": "Terminating"}
    if kind == world.definitions:
        ending["status"]["conditions"].append(_DELETING | {"lastTransitionTime": now()})
        ending["metadata"]["finalizers"] = [
            *metadata.get("finalizers", []),
            "customresourcecleanup.apiextensions.k8s.io",
        ]
    if kind in (world.namespaces, world.definitions) or metadata.get("finalizers"):
        if metadata.get("deletionTimestamp"):
            return live
        ending["metadata"]["deletionTimestamp"] = now()
        if kind.counts_generations and kind.group == "apps":
            ending["metadata"]["generation"] += 1
            ending["metadata"]["deletionGracePeriodSeconds"] = 0
        return world.store.put(kind, ending)
    world.store.remove(kind, live)
    return success({**details(metadata["name"], kind.group, kind.plural), "uid": metadata["uid"]})


def _remove_pod(world: World, live: Document, grace: int | None) -> Document:
    """A pod that runs somewhere is only marked: its node lets it end, and takes it out."""
    ending = copy.deepcopy(live)
    if grace is None:
        grace = live["spec"]["terminationGracePeriodSeconds"]
    if not live["spec"].get("nodeName") or live["status"]["phase"] in ("Succeeded", "Failed"):
        grace = 0
    ending["metadata"].setdefault("deletionTimestamp", now())
    if grace == 0 or ending["metadata"].get("deletionGracePeriodSeconds", grace) >= grace:
        ending["metadata"]["deletionGracePeriodSeconds"] = grace
    ending = world.store.put(world.pods, ending)
    if grace == 0 and not live["metadata"].get("finalizers"):
        world.store.remove(world.pods, ending)
    return ending


def _ending(kind: Kind, namespace: str, name: str) -> Exception:
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    message = (
        f'{kind.qualified} "{name}" is forbidden: unable to create new content in namespace {namespace} because it is '
        "being terminated"
    )
    about = {**details(name, kind.group, kind.plural), "causes": [cause.document()]}
    return failure(403, "Forbidden", message, about)


def _check_identity(kind: Kind, document: Document, namespace: str, name: str | None) -> None:
    metadata = document.get("metadata") or {}
    given = metadata.get("name")
    if name is not None and given and given != name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    home = metadata.get("namespace")
    if kind.namespaced and home and home != namespace:
        text = f"the namespace of the object ({home}) does not match the namespace on the request ({namespace})"
        raise bad_request(text)


def _check_options(request: Request, *, apply: bool) -> None:
    manager = request.parameter("fieldManager")
    causes = []
    if apply and not manager:
        causes.append(validation.required("fieldManager", "is required for apply patch"))
    if len(manager.encode()) > _MANAGER_LENGTH:
        text = f"Too long: must have at most {_MANAGER_LENGTH} bytes"
        causes.append(Cause("FieldValueTooLong", text, "fieldManager"))
    odd = re.search(r"[\x00-\x1f\x7f]", manager)
    if odd is not None:
        text = (
            f"Invalid value: {json.dumps(manager)}: invalid character U+{ord(odd[0]):04X} (at position {odd.start()})"
        )
        causes.append(Cause("FieldValueInvalid", text, "fieldManager"))
    if not apply and "force" in request.query:
        text = "Forbidden: may not be specified for non-apply patch"
        causes.append(Cause("FieldValueForbidden", text, "force"))
    if causes:
        raise invalid("PatchOptions", "meta.k8s.io", "", causes)


def _dry(request: Request) -> bool:
    found = request.query.get("dryRun", [])
    if found and found != ["All"]:
        text = f'Unsupported value: []string{{{", ".join(map(json.dumps, found))}}}: supported values: "All"'
        raise invalid("PatchOptions", "meta.k8s.io", "", [Cause("FieldValueNotSupported", text, "dryRun")])
    return bool(found)


def _by_agent(request: Request) -> str:
    return request.headers.get("user-agent", "unknown").partition("/")[0][:_MANAGER_LENGTH]


def _decode_yaml(body: bytes) -> Document:
    try:
        found = yaml.load(body, _Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {problem}") from None
    if not isinstance(found, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {text}")
    return found


def _decode_json(body: bytes) -> Document:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise bad_request(f"the object provided is unrecognized (must be of type …): {error}") from None
    if not isinstance(found, dict):
        raise bad_request("the object provided is unrecognized")
    return found


def _empty(kind: Kind) -> Document:
    """What a typed object without content has: a change of these is a change of their parts only."""
    pod: Document = {"containers": []}
    specs: dict[str, Document] = {
        "Pod": pod,
        "Deployment": {"strategy": {}, "template": {"metadata": {}, "spec": pod}},
    }
    spec = specs.get(kind.name, {})
    return {"metadata": {}, "spec": spec, "status": {}, "involvedObject": {}, "source": {}, **_UNSAID}


def _pruned(value: Any, schema: Mapping[str, Any], *, top: bool = False) -> Any:
    """A custom object without the fields that its schema does not know."""
    if isinstance(value, list):
        return [_pruned(each, schema.get("items", {})) for each in value]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    known = schema.get("properties")
    if known is None:
        below = schema.get("additionalProperties")
        return {name: _pruned(each, below) for name, each in value.items()} if isinstance(below, dict) else value
    kept = ("apiVersion", "kind", "metadata") if top else ()
    return {
        name: each if name in kept else _pruned(each, known[name])
        for name, each in value.items()
        if name in kept or name in known
    }
