"""Who may open a WebSocket: judged on the request, before the connection is upgraded."""

import re
from collections.abc import Collection

from appliance.http.address import address_group
from appliance.http.call import Call
from appliance.http.errors import HttpError, bad_request, forbidden

TRY_AGAIN = "10"
VERSION = "13"
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
"""16 bytes in base64 (RFC 6455 section 4.1)."""


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
    """Raise a 426 for a request that asks for no WebSocket of version 13, a 400 for a malformed one.

    What else is wrong with a handshake (RFC 6455 section 4.2.1), Autobahn refuses.
    """
    upgrade = (call.header("Upgrade") or "").lower()
    connection = [option.strip() for option in (call.header("Connection") or "").lower().split(",")]
    if upgrade != "websocket" or "upgrade" not in connection:
        raise HttpError(426, "This is a WebSocket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    if _only(call, "Sec-WebSocket-Version") != VERSION:
        raise HttpError(
            426,
            f"WebSockets of version {VERSION} only",
            headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION},
        )
    if _KEY.fullmatch(_only(call, "Sec-WebSocket-Key")) is None:
        raise bad_request("Sec-WebSocket-Key must be 16 bytes in base64")
    if len(call.headers.getRawHeaders(b"Sec-WebSocket-Extensions") or ()) > 1:
        raise bad_request("Sec-WebSocket-Extensions must be one header")


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


def _only(call: Call, name: str) -> str:
    """The value of a header that must come once; "" where it does not."""
    values = call.headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("latin-1").strip() if values is not None and len(values) == 1 else ""
