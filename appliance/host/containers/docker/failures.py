"""An engine's refusals, by what they mean. Docker says it by the status; Podman's is 500 for much that is no defect."""

import msgspec

from appliance.host.containers.errors import EngineError
from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.host.outgoing.peer import Peer
from appliance.host.outgoing.words import shown

DOCKER = Peer("Docker", EngineError)

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
    "invalid argument",
    "invalid filter",
    "invalid reference",
    "invalid signal",
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
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = body.decode("utf-8", "replace")
    text = shown(message) or f"status {status}"
    if status == 400:
        return Invalid("request", text)
    by_status = _BY_STATUS.get(status)
    return by_status(text) if by_status is not None else by_words(text)


def by_words(message: str) -> HostError:
    """The error that an engine describes by `message` alone, as in the middle of a stream."""
    text = shown(message)
    small = text.lower()
    if any(words in small for words in _UNKNOWN):
        return Unknown(text)
    if any(words in small for words in _CONFLICT):
        return Conflict(text)
    if any(words in small for words in _INVALID):
        return Invalid("request", text)
    return EngineError(f"Docker: {text}")
