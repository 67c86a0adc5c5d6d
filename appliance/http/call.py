"""One request as handlers, authenticators and the audit log see it; nothing of Twisted shows here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_plus

from twisted.web.http_headers import Headers

from appliance.http.errors import bad_request
from appliance.identity.caller import Caller

if TYPE_CHECKING:
    from appliance.http.endpoints import Endpoint
    from appliance.http.surface import Surface
    from appliance.http.uploads import AppendTo

MAX_QUERY_PARAMETERS = 100


class Connection(Protocol):
    """What a transport tells of itself."""

    def getHost(self) -> Any:
        """Our end: a Twisted address."""


class Call:
    """A request's head, and what the way of the request adds to it step by step.

    `raw_path` is the path part of the request target as it was sent (still percent-encoded), `path` the decoded one,
    `query` what follows the `?`. `address` is the client's, seen through trusted proxies; `connection` is the one the
    request came on. `caller` is there once the surface's authenticator has answered. Handlers may put facts for the
    audit log into `audit_details`, name what they act on in `audit_object`, say in `audit_outcome` how it went where
    the answer's status does not, and set `audit_needless` where that need not be written down. Where an authenticator
    has set `expected_digest` (SHA-256 in hex), a body with another `body_digest` is refused before the handler.
    """

    __slots__ = (
        "_arguments",
        "address",
        "append_to",
        "audit_details",
        "audit_needless",
        "audit_object",
        "audit_outcome",
        "body_digest",
        "caller",
        "connection",
        "endpoint",
        "expected_digest",
        "headers",
        "id",
        "length",
        "method",
        "parameters",
        "path",
        "query",
        "raw_path",
        "started",
        "surface",
    )

    def __init__(self, id: str, method: str, raw_path: bytes, path: str, query: bytes, headers: Headers) -> None:
        self.id = id
        self.method = method
        self.raw_path = raw_path
        self.path = path
        self.query = query
        self.headers = headers
        self.address = ""
        self.connection: Connection | None = None
        self.length: int | None = 0
        self.expected_digest: str | None = None
        self.body_digest: str | None = None
        self.started = 0.0
        self.surface: Surface | None = None
        self.endpoint: Endpoint | None = None
        self.parameters: Mapping[str, str] = {}
        self.caller: Caller | None = None
        self.append_to: AppendTo | None = None
        self.audit_object: str | None = None
        self.audit_outcome: str | None = None
        self.audit_needless = False
        self.audit_details: dict[str, object] = {}
        self._arguments: dict[str, list[str]] | None = None

    def local_address(self) -> str:
        """Return the address of ours that the client's connection came in at; "" where there is no connection."""
        return str(self.connection.getHost().host) if self.connection is not None else ""

    @property
    def has_its_body(self) -> bool:
        """Whether the body that came is the one that was signed, where one was."""
        return self.expected_digest == self.body_digest

    @property
    def arguments(self) -> dict[str, list[str]]:
        """The query's parameters, decoded, each with all its values.

        Raises a 400 for more than 100 parameters or bytes that are not UTF-8.
        """
        if self._arguments is None:
            self._arguments = parse_query(self.query)
        return self._arguments

    def argument(self, name: str) -> str | None:
        """Return the last value of query parameter `name`, or None."""
        values = self.arguments.get(name)
        return values[-1] if values else None

    def header(self, name: str) -> str | None:
        """Return the last value of header `name` (bytes outside ASCII as in ISO 8859-1), or None."""
        values = self.headers.getRawHeaders(name.encode("ascii"))
        return values[-1].decode("latin-1") if values else None


def parse_query(query: bytes) -> dict[str, list[str]]:
    """Decode `a=1&b=2` into `{"a": ["1"], "b": ["2"]}` (WHATWG URL, application/x-www-form-urlencoded).

    Most queries hold nothing to unquote; only those that do pay for it. Raises a 400 for more than 100 parameters,
    bytes that are not UTF-8, or NUL.
    """
    found: dict[str, list[str]] = {}
    if not query:
        return found
    pairs = query.split(b"&")
    if len(pairs) > MAX_QUERY_PARAMETERS:
        raise bad_request(f"Too many parameters. Allowed: <= {MAX_QUERY_PARAMETERS}")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        if name or value:
            found.setdefault(_unquote(name), []).append(_unquote(value))
    return found


def _unquote(raw: bytes) -> str:
    try:
        text = raw.decode("ascii")
        if "%" in text or "+" in text:
            text = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise bad_request("Parameters must be percent-encoded UTF-8") from None
    if "\0" in text:
        raise bad_request("Parameters must not contain NUL")
    return text
