"""One request over one connection, and its answer as it begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from twisted.internet.defer import CancelledError
from twisted.internet.error import DNSLookupError

from appliance.host.errors import Invalid
from appliance.host.kubernetes.credentials import Headers
from appliance.host.kubernetes.errors import CLUSTER
from appliance.host.kubernetes.failures import explained
from appliance.host.kubernetes.session import Line
from appliance.host.outgoing.body import Body

Query = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, by whomever."""

    method: str
    path: str
    query: Query | None
    accept: str
    content: bytes | None = None
    content_type: str = ""

    @property
    def target(self) -> str:
        """Path and query as in a URL."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def headers(self, shown: Headers) -> Headers:
        """Its own, and those that show who asks."""
        about = () if self.content is None else (("Content-Type", self.content_type),)
        return ("Accept", self.accept), *about, *shown


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has begun; its body must be closed. `retry_after` are the seconds that the server asks for."""

    status: int
    body: Body
    retry_after: int | None


def segment(name: str) -> str:
    """One segment of a path. Raises `Invalid` for one that would make another path of it."""
    if name in ("", ".", ".."):
        raise Invalid("name", f"{name!r} is none")
    return quote(name, safe="")


async def exchange(reactor: Any, line: Line, request: Request, *, streams: bool) -> Reply:
    """Send `request` and wait for its answer to begin, which `streams` or is taken as a whole.

    Raises `ClusterAbsent` for what was not sent, and `ClusterError`.
    """
    from appliance.host.outgoing import agent

    try:
        response = await line.connections.request(
            request.method,
            f"{line.target.server.base}{request.target}",
            request.headers(line.target.headers),
            request.content,
            streams=streams,
        )
    except (agent.NOT_CONNECTED, DNSLookupError, *agent.BROKEN) as error:
        if agent.was_cancelled(error):
            raise CancelledError from None
        raise explained(error, line.target.server.authority) from error
    body = Body(reactor, agent.WHOLE, CLUSTER)
    response.deliverBody(body)
    return Reply(response.code, body, _seconds(response.headers.getRawHeaders(b"Retry-After", [])))


def _seconds(values: Sequence[bytes]) -> int | None:
    """What Retry-After says in seconds; as a date, which no API server sends, it is left alone."""
    value = values[0].strip() if values else b""
    return int(value) if value.isdigit() and len(value) < 7 else None
