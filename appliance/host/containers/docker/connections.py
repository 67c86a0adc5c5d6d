"""Which connection a request to an engine goes over.

Loads Twisted's HTTP client and treq, so this module is imported when an engine is first looked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IConsumer
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from appliance.host.outgoing import agent

KEPT = 2
KEPT_SECONDS = 20
"""How many connections are kept without anything to do, and for how long."""


class Connections:
    """Connections to the socket at `path`.

    What only reads goes over those that are kept; if such a one turns out to be closed, once more over a new one. All
    else has a connection of its own: nothing that changes something is ever sent twice, and no stream is in the way.
    """

    def __init__(self, reactor: Any, path: Path) -> None:
        endpoint = UNIXClientEndpoint(reactor, str(path), timeout=agent.CONNECT_SECONDS)
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT
        self._pool.cachedConnectionTimeout = KEPT_SECONDS
        gulping = agent.Tuned(endpoint, agent.GULP)
        self._kept = agent.agent(reactor, gulping, self._pool)
        self._single = agent.agent(reactor, gulping)
        self._streaming = agent.agent(reactor, agent.Tuned(endpoint, agent.SIP))

    def request(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes | None, *, streams: bool
    ) -> Deferred[IResponse]:
        """Send a request. Fails with `agent.NOT_CONNECTED` or one of `agent.BROKEN`."""
        chosen = self._streaming if streams else self._kept if method == "GET" else self._single
        return chosen.request(
            method.encode("ascii"),
            f"http://docker{target}".encode("ascii"),
            Headers({name: [value] for name, value in headers.items()}),
            None if content is None else _Content(content),
        )

    def close(self) -> None:
        """Close the connections that have nothing to do."""
        self._pool.closeCachedConnections()


@implementer(IBodyProducer)
class _Content:
    """A body that is there already."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All has been written."""

    def resumeProducing(self) -> None:
        """All has been written."""

    def stopProducing(self) -> None:
        """All has been written."""
