"""Which connection a request goes over.

Loads Twisted's HTTP client, so this module is imported when something is first asked.
"""

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from appliance.host.outgoing import agent


class Connections:
    """Connections to one server.

    What only reads goes over those that are kept, at most `size` of them without anything to do and for `idle` seconds;
    if such a one turns out to be closed, once more over a new one. All else has a connection of its own: nothing that
    changes something is ever sent twice, and no stream is in the way.
    """

    def __init__(
        self, reactor: Any, answers: IStreamClientEndpoint, streams: IStreamClientEndpoint, size: int, idle: float
    ) -> None:
        """`answers` connects for what is taken as a whole, `streams` for what is read as it comes."""
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = size
        self._pool.cachedConnectionTimeout = idle  # type: ignore[assignment]  # which may be less than a second
        self._kept = agent.agent(reactor, answers, self._pool)
        self._single = agent.agent(reactor, answers)
        self._streaming = agent.agent(reactor, streams)

    def request(
        self, method: str, url: str, headers: Iterable[tuple[str, str]], content: bytes | None, *, streams: bool
    ) -> Deferred[IResponse]:
        """Send a request, to the one server whatever host `url` names.

        Fails with `agent.NOT_CONNECTED` or one of `agent.BROKEN`.
        """
        chosen = self._streaming if streams else self._kept if method == "GET" else self._single
        sent = Headers()
        for name, value in headers:
            sent.addRawHeader(name, value)
        body = None if content is None else _Content(content)
        return chosen.request(method.encode("ascii"), url.encode("ascii"), sent, body)

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
