"""Status objects: how the API says no, and how it says done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One reason of several; `field` is a path into the object."""

    reason: str
    message: str
    field: str

    def document(self) -> dict[str, str]:
        """As it is sent."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class Refused(Exception):
    """An answer from 400 on. `body` is a Status, or text where the real server sends text."""

    def __init__(self, code: int, body: "dict[str, Any] | bytes", content_type: str = "application/json") -> None:
        super().__init__(code, body)
        self.code = code
        self.body = body
        self.content_type = content_type


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None, **metadata: str) -> Refused:
    """A refusal with a Status; an empty reason is left out, and so are details that are None."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
    status["message"] = message
    if reason:
        status["reason"] = reason
    if details is not None:
        status["details"] = details
    status["code"] = code
    return Refused(code, status)


def success(details: dict[str, Any]) -> dict[str, Any]:
    """What a deletion says."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def qualified(plural: str, group: str) -> str:
    """How messages name a resource: `deployments.apps`, and `pods` in the core group."""
    return f"{plural}.{group}" if group else plural


def details(name: str, group: str, kind: str) -> dict[str, Any]:
    """What an answer is about; what is empty is left out."""
    found = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in found.items() if value}


def not_found(plural: str, group: str, name: str) -> Refused:
    """No such object."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return failure(404, "NotFound", message, details(name, group, plural))


def no_resource() -> Refused:
    """No such kind in a version that exists."""
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def no_page() -> Refused:
    """No such version: the answer of the mux below the API."""
    return Refused(404, b"404 page not found\n", "text/plain; charset=utf-8")


def method_not_allowed() -> Refused:
    """The resource does not know the verb."""
    message = "the server does not allow this method on the requested resource"
    return failure(405, "MethodNotAllowed", message, {})


def bad_request(message: str) -> Refused:
    """What cannot be read."""
    return failure(400, "BadRequest", message)


def internal(message: str) -> Refused:
    """What 1.20 answers with 500 though the client is to blame."""
    return failure(500, "", message)


def already_exists(plural: str, group: str, name: str) -> Refused:
    """POST of a name that is taken."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, details(name, group, plural))


def outdated(plural: str, group: str, name: str) -> Refused:
    """The resourceVersion given is not that of the object."""
    message = (
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": the object has been modified; please '
        "apply your changes to the latest version and try again"
    )
    return failure(409, "Conflict", message, details(name, group, plural))


def managed_by_others(conflicts: Sequence[tuple[str, str]]) -> Refused:
    """Fields that others manage; pairs of manager, as he is told, and path, in order."""
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    if len(conflicts) == 1:
        text = f"conflict with {conflicts[0][0]}: {conflicts[0][1]}"
    else:
        managers = dict.fromkeys(manager for manager, _ in conflicts)
        text = "\n".join(
            "\n".join([f"conflicts with {each}:", *(f"- {path}" for manager, path in conflicts if manager == each)])
            for each in managers
        )
    causes = [Cause("FieldManagerConflict", f"conflict with {manager}", path) for manager, path in conflicts]
    return failure(
        409, "Conflict", f"Apply failed with {count}: {text}", {"causes": [each.document() for each in causes]}
    )


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """An object that breaks rules."""
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    found = {**details(name, group, kind), "causes": [cause.document() for cause in causes]}
    return failure(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', found)


def expired(message: str, **metadata: str) -> Refused:
    """A version that is not kept any more."""
    return failure(410, "Expired", message, None, **metadata)
