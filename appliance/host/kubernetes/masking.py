"""What those who may only read see of a whole object: nothing that may hold a secret.

Of the kinds that are built in, what is known to hold values of people's own is hidden, wherever it stands; of all
others nobody here knows what they hold, so that only their metadata is shown, and what they consist of.
"""

from collections.abc import Iterable
from typing import Any

from appliance.host.kubernetes.events import for_readers
from appliance.host.kubernetes.kinds import Kind
from appliance.secret import MASK

_HIDDEN = frozenset(
    [
        "annotations",
        "args",
        "attributes",
        "binaryData",
        "caBundle",
        "command",
        "data",
        "managedFields",
        "mountOptions",
        "options",
        "parameters",
        "stringData",
        "userData",
        "value",
        "volumeAttributes",
    ]
)
"""Members whose values are hidden: `value` is that of environments, of headers in probes and the like."""
_QUOTING = ("terminated", "waiting")
"""States of a container whose messages quote its command, or what it wrote at its end, as events do."""
_SHOWN = ("apiVersion", "kind", "metadata")


def masked(kind: Kind, content: dict[str, Any]) -> dict[str, Any]:
    """`content`, an object of this kind, without what may hold secrets."""
    if (kind.group, kind.plural) == ("", "events"):
        content = {**content, "message": for_readers(content.get("reason", ""), content.get("message", ""))}
    if kind.built_in:
        return _masked_object(content)
    return {
        name: _masked_members(each) if name == "metadata" else each if name in _SHOWN else _hidden(each)
        for name, each in content.items()
    }


def _masked_members(content: Any) -> Any:
    """Without hidden members, at any depth; whoever read it has seen to it that there are not too many."""
    if isinstance(content, dict):
        return _masked_object(content)
    if isinstance(content, list):
        return [_masked_members(each) for each in content]
    return content


def _masked_object(content: dict[str, Any]) -> dict[str, Any]:
    found = {name: _hidden(each) if name in _HIDDEN else _masked_members(each) for name, each in content.items()}
    for name in _QUOTING:
        state = found.get(name)
        if isinstance(state, dict) and "message" in state:
            state["message"] = MASK
    return found


def _hidden(value: Any) -> Any:
    """Only what it consists of."""
    if isinstance(value, dict):
        return _names(value)
    if isinstance(value, list):
        return [MASK] if value else []
    return MASK


def _names(names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, MASK)
