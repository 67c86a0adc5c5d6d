"""Where the web interface is: where browsers are sent back to."""

from collections.abc import Mapping
from urllib.parse import urlencode

from appliance.http.call import Call


class Frontend:
    """`url` is the interface's, None where it is served by us, under whatever name the client came to."""

    def __init__(self, url: str | None) -> None:
        self._url = url.rstrip("/") if url is not None else None

    def page(self, call: Call, path: str, query: Mapping[str, str] | None = None) -> str:
        """The address of a page."""
        base = self._url or f"https://{call.header('Host') or ''}"
        return f"{base}{path}?{urlencode(query)}" if query else f"{base}{path}"
