"""Why a program cannot be run in a pod, in a cluster's own words: a node says it with status 500."""

from appliance.host.errors import Conflict, HostError
from appliance.host.kubernetes import refusals

_NOT_RUNNING = (
    b"container not found",  # of a pod that is not running or has ended
    b"container is not running",
    b"does not have a host assigned",
    b"is in CONTAINER_",
)


def refusal(status: int, body: bytes, context: str) -> HostError:
    """The error that an answer `status` with `body` is to the wish to run a program. See `refusals.refusal`."""
    error = refusals.refusal(status, body, context)
    if status in (400, 404, 500) and any(words in body for words in _NOT_RUNNING):
        return Conflict(str(error).removeprefix("Kubernetes: "))
    return error
