"""The cluster's refusals, by what they mean (Kubernetes API conventions, "Response Status Kind")."""

import msgspec

from appliance.host.errors import Conflict, Forbidden, HostError, Unknown
from appliance.host.kubernetes.errors import ClusterError, Expired, Rejected
from appliance.host.outgoing.peer import UNREADABLE
from appliance.host.outgoing.words import shown

_LIMIT = 1000
"""Characters of a reason. The cluster names each field that it refuses."""

_BY_STATUS: dict[int, type[HostError]] = {
    400: Rejected,
    403: Forbidden,
    404: Unknown,
    405: Rejected,
    406: Rejected,
    409: Conflict,
    410: Expired,
    413: Rejected,
    415: Rejected,
    422: Rejected,
}


class _Status(msgspec.Struct):
    message: str = ""


def refusal(status: int, body: bytes, context: str) -> HostError:
    """The error that an answer `status` with `body` is, to what was asked with the credentials of `context`."""
    if status == 401:
        return ClusterError(f"The cluster refuses our credentials (context {context})")
    kind = _BY_STATUS.get(status, ClusterError)
    text = _reason(body) or f"status {status}"
    return kind(text if kind is not ClusterError else f"Kubernetes: {text}")


def _reason(body: bytes) -> str:
    try:
        message = msgspec.json.decode(body, type=_Status).message
    except UNREADABLE:
        message = body.decode("utf-8", "replace")
    return shown(message, _LIMIT)
