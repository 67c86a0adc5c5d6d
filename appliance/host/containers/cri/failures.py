"""What gRPC's statuses mean when a runtime gives them (https://grpc.io/docs/guides/status-codes/)."""

from appliance.host.containers.errors import RuntimeUnusable
from appliance.host.errors import Conflict, HostError, Invalid, Unknown
from appliance.host.outgoing.peer import Peer
from appliance.host.outgoing.words import shown

NOT_THERE = "UNAVAILABLE"
"""The status of a call that found nobody, or whose connection broke."""


class CallFailed(Exception):
    """A call has ended with another status than OK: the status's name, and what was said."""

    def __init__(self, status: str, details: str) -> None:
        super().__init__(f"{status}: {details}")
        self.status = status
        self.details = details


def meaning(failed: CallFailed, peer: Peer, seconds: float) -> HostError:
    """The error for a call to `peer` that was given `seconds`."""
    text = shown(failed.details) or failed.status
    match failed.status:
        case "NOT_FOUND":
            return Unknown(text)
        case "FAILED_PRECONDITION" | "ALREADY_EXISTS" | "ABORTED":
            return Conflict(text)
        case "INVALID_ARGUMENT" | "OUT_OF_RANGE":
            return Invalid("request", text)
        case "UNIMPLEMENTED":
            return RuntimeUnusable(
                f"{peer.name} does not offer version 1 of the Container Runtime Interface ({text}):"
                " containerd does from 1.6 on, unless its configuration names cri in disabled_plugins,"
                " as that of Docker's packages does"
            )
        case "DEADLINE_EXCEEDED":
            return peer.was_silent(seconds)
        case "UNAVAILABLE" | "CANCELLED":
            return peer.broke_after_asking()
        case _:
            return peer.error(f"{peer.name}: {text}")
