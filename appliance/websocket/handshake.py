"""Who may open a WebSocket: judged on the request, before the connection is upgraded."""

from collections.abc import Collection

from appliance.http.address import address_group
from appliance.http.call import Call
from appliance.http.errors import HttpError, forbidden

TRY_AGAIN = "10"


class OpenSockets:
    """Counts the open WebSockets of each client; `limit` for one client (an `address_group`)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}

    def enter(self, address: str) -> str:
        """Count one more for `address` and return what `leave` takes. Raises a 429 at the limit."""
        group = address_group(address)
        count = self._open.get(group, 0)
        if count >= self._limit:
            raise HttpError(429, f"More than {self._limit} WebSockets", headers={"Retry-After": TRY_AGAIN})
        self._open[group] = count + 1
        return group

    def leave(self, group: str) -> None:
        """One has closed."""
        left = self._open[group] - 1
        if left:
            self._open[group] = left
        else:
            del self._open[group]


def check_upgrade(call: Call) -> None:
    """Raise a 426 for a request that does not ask for a WebSocket (RFC 6455 section 4.2.1)."""
    upgrade = (call.header("Upgrade") or "").lower()
    connection = [option.strip() for option in (call.header("Connection") or "").lower().split(",")]
    if upgrade != "websocket" or "upgrade" not in connection:
        raise HttpError(426, "This is a WebSocket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def check_origin(call: Call, allowed: Collection[str]) -> None:
    """Raise a 403 where a page of another origin asks: a browser opens WebSockets for every page there is.

    Our own origin is the name the request was sent to (its Host header), by https. No Origin header: no browser
    (RFC 6454 section 7).
    """
    values = call.headers.getRawHeaders(b"Origin")
    if values is None:
        return
    origin = values[0].decode("latin-1").lower() if len(values) == 1 else "null"
    host = (call.header("Host") or "").lower()
    if origin != f"https://{host}" and origin not in allowed:
        raise forbidden("A page of another origin may not open a WebSocket here")
