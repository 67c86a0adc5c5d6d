"""Tokens without a log-in: for development, and for a mesh that one administrator keeps on the machine itself."""

from ipaddress import ip_address
from typing import Literal

from appliance.http.call import Call


class Development:
    """Who may have one (mesh contract, "dev token"): `possible` only with debug on, or where there is no OIDC."""

    def __init__(self, policy: Literal["loopback", "any", "off"], *, possible: bool) -> None:
        self._policy = policy
        self._possible = possible

    def allows(self, call: Call) -> bool:
        """Whether the client may. Behind a proxy nobody is local: what came from afar would look as if it were."""
        if not self._possible or self._policy == "off":
            return False
        if self._policy == "any":
            return True
        forwarded = call.header("Forwarded") is not None or call.header("X-Forwarded-For") is not None
        return not forwarded and _is_loopback(call.address)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
