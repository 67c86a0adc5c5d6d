"""Who may see what of a cluster."""

from appliance.host.errors import Forbidden
from appliance.host.kubernetes.kinds import Kind, Kinds
from appliance.host.kubernetes.objects import is_secret
from appliance.http.call import Call
from appliance.system.endpoints_containers import sees_secrets


async def known_kind(kinds: Kinds, call: Call, name: str) -> Kind:
    """The kind that a path calls `name`. Raises `Forbidden` for secrets where the caller is no administrator, and what
    `Kinds.named` raises."""
    kind = await kinds.named(name)
    if is_secret(kind) and not sees_secrets(call):
        raise Forbidden("Secrets are for administrators")
    return kind
