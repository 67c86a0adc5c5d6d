"""Why a program has not begun, which is said after the fact and in a runtime's own words."""

from appliance.host.errors import HostError, Invalid
from appliance.host.outgoing.peer import Peer
from appliance.host.outgoing.words import shown

_NO_PROGRAM = ("executable file not found", "no such file or directory", "permission denied", "not a directory")


def failure_of(peer: Peer, message: str) -> HostError:
    """The error of a program that has not begun, by what `peer` says of it."""
    text = shown(message) or "the program could not be run"
    if any(words in message for words in _NO_PROGRAM):
        return Invalid("command", text)
    return peer.error(f"{peer.name}: {text}")
