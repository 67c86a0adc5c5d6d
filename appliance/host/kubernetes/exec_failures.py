"""Why a program cannot be run in a pod, in a cluster's own words: a node says it with status 500 or after the fact."""

from appliance.host.errors import Conflict, HostError, Invalid
from appliance.host.kubernetes import refusals
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.outgoing.words import shown

_NOT_RUNNING = (
    b"container not found",  # of a pod that is not running or has ended
    b"container is not running",
    b"does not have a host assigned",
    b"is in CONTAINER_",
)
_NO_PROGRAM = ("executable file not found", "no such file or directory", "permission denied", "not a directory")


def refusal(status: int, body: bytes, context: str) -> HostError:
    """The error that an answer `status` with `body` is to the wish to run a program. See `refusals.refusal`."""
    error = refusals.refusal(status, body, context)
    if status in (400, 404, 500) and any(words in body for words in _NOT_RUNNING):
        return Conflict(str(error).removeprefix("Kubernetes: "))
    return error


def failure_of(message: str) -> HostError:
    """The error of a program that has not begun, by the node's words."""
    text = shown(message) or "the program could not be run"
    if any(words in message for words in _NO_PROGRAM):
        return Invalid("command", text)
    return ClusterError(f"Kubernetes: {text}")
