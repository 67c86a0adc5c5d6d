"""What makes a surface: its prefix, its routes, its error form, who may ask, and where its changes are written down."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint
from appliance.http.errors import HttpError
from appliance.http.headers import API_CSP
from appliance.http.replies import FileReply, Reply
from appliance.identity.caller import Caller


class Authenticator(Protocol):
    """Finds out who sent a request."""

    async def identify(self, call: Call, endpoint: Endpoint | None) -> Caller | None:
        """Judge by request line, query and headers alone; `endpoint` is None for a method the path does not have.

        Returns None where the credentials may still come in the form. Raises an `HttpError` to refuse.
        """

    async def identify_form(self, call: Call, endpoint: Endpoint | None, fields: Mapping[str, str]) -> Caller:
        """Judge by the form's text fields that came before its first file. Raises an `HttpError` to refuse."""


class Envelope(Protocol):
    """The form of a surface's answers."""

    def encode(self, value: object, call: Call) -> Reply | FileReply:
        """Wrap what a handler returned."""

    def error(self, error: HttpError, call: Call | None) -> Reply:
        """Wrap a refusal; without a call what could not be parsed as a request."""


class AuditTrail(Protocol):
    """Where a surface writes down what was changed, or tried."""

    async def record(self, call: Call, action: str, outcome: str) -> None:
        """Return once the entry is durable."""


class Gate(Protocol):
    """Turns requests away before anything else is looked at: a rate limit."""

    def admit(self, call: Call) -> None:
        """Raise an `HttpError` to refuse."""


class Finder(Protocol):
    """Finds an endpoint; see `Router`."""

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Return the endpoint and the path's parameters. Raises an `HttpError`."""


@dataclass(frozen=True)
class UploadPolicy:
    """Where a surface's uploads are received, and the bytes one request may bring."""

    folder: Path
    limit: int


def only_http_errors(error: Exception) -> HttpError | None:
    """For a surface whose handlers raise nothing but `HttpError` on purpose."""
    return None


@dataclass(frozen=True)
class Surface:
    """One API of several on the same port.

    `translate` turns a domain error that a handler let pass into its answer, and returns None for what is a defect.
    `wake` is awaited before the router is asked, for a surface that is put together at its first use.
    """

    name: str
    prefix: str
    router: Finder
    envelope: Envelope
    authenticator: Authenticator
    audit: AuditTrail
    uploads: UploadPolicy | None = None
    gate: Gate | None = None
    translate: Callable[[Exception], HttpError | None] = only_http_errors
    csp: str = API_CSP
    wake: Callable[[], Awaitable[None]] | None = None

    def owns(self, path: str) -> bool:
        """Whether `path` is the prefix itself or lies below it."""
        return path.startswith(self.prefix) and path[len(self.prefix) : len(self.prefix) + 1] in ("", "/")


class Surfaces:
    """All surfaces; the longest prefix that fits owns a path, the shortest (the web root's, "") what no other fits."""

    def __init__(self, surfaces: list[Surface]) -> None:
        self._surfaces = sorted(surfaces, key=lambda surface: -len(surface.prefix))

    def owner(self, path: str) -> Surface:
        """Return the surface that answers for `path`."""
        for surface in self._surfaces:
            if surface.owns(path):
                return surface
        return self._surfaces[-1]
