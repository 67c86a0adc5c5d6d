"""An engine's refusals, by what they mean. Docker says it by the status; Podman's is 500 for much that is no defect."""

import re

import msgspec

from appliance.host.containers.errors import EngineError
from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.host.outgoing.peer import UNREADABLE, Peer
from appliance.host.outgoing.words import shown

DOCKER = Peer("Docker", EngineError)

_AMBIGUOUS = ("multiple ids found", "more than one result")
_NO_NETWORK = re.compile(r"network \S+ not found")
_UNKNOWN = (
    "no such container",
    "no such image",
    "no such volume",
    "no such network",
    "no such exec",
    "image not known",
    "network not found",
    "manifest unknown",
    "repository does not exist",
    "pull access denied",
)
_CONFLICT = (
    "container state improper",
    "already exists",
    "already in use",
    "already used",
    "already allocated",
    "already paused",
    "being used",
    "in use by",
    "is in use",
    "is not paused",
    "is not running",
    "is paused",
    "is running",
    "cannot be removed",
    "conflicts with",
    "has active endpoints",
    "has dependent",
    "force removal",
)
_INVALID = (
    "a command that was not found",
    "executable file not found",
    "fill out specgen",
    "invalid argument",
    "invalid filter",
    "invalid reference",
    "invalid signal",
    "no matching entries in group file",
    "no matching entries in passwd file",
    "oci permission denied",
    "oci runtime create failed",
    "oci runtime error",
    "must be lowercase",
    "required plugin missing",
    "unsupported driver",
    "unauthorized",
    "authentication required",
    "incorrect username or password",
)
_BY_STATUS: dict[int, type[HostError]] = {404: Unknown, 409: Conflict, 403: Conflict}


class _Refusal(msgspec.Struct):
    message: str = ""


def refusal(status: int, body: bytes) -> HostError:
    """The error that an engine's answer `status` with `body` is."""
    try:
        message = msgspec.json.decode(body, type=_Refusal).message
    except UNREADABLE:
        message = body.decode("utf-8", "replace")
    if not shown(message):
        message = "There is nothing of that name" if status == 404 else f"status {status}"
    text = shown(message)
    if status == 400:
        return Invalid("request", text)
    by_status = _BY_STATUS.get(status)
    return by_status(text) if by_status is not None else by_words(message)


def by_words(message: str) -> HostError:
    """The error that an engine describes by `message` alone, as in the middle of a stream."""
    text = shown(message)
    small = message.lower()  # all of it: the reason stands at the end, and may stand behind a long name
    if any(words in small for words in _AMBIGUOUS):
        return Invalid("request", text)
    if any(words in small for words in _UNKNOWN) or _NO_NETWORK.search(small):
        return Unknown(text)
    if any(words in small for words in _CONFLICT):
        return Conflict(text)
    if any(words in small for words in _INVALID):
        return Invalid("request", text)
    return EngineError(f"Docker: {text}")
