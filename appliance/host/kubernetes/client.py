"""Requests to the cluster: how long, how much, and what a refusal means."""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectingCancelledError

from appliance.host.kubernetes.access import find
from appliance.host.kubernetes.errors import CLUSTER, ClusterAbsent, ClusterError
from appliance.host.kubernetes.refusals import refusal
from appliance.host.kubernetes.session import Session, open_session
from appliance.host.kubernetes.target import Target
from appliance.host.kubernetes.trust import NotTrusted
from appliance.host.outgoing.body import Body
from appliance.host.shared import Shared
from appliance.process.reactor import within
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

T = TypeVar("T")

ANSWER_SECONDS = 30.0
ANSWER_LIMIT = 16 << 20
_REFUSAL_LIMIT = 64 * 1024

Query = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: a status below 400, and a body."""

    status: int
    body: bytes

    def decode(self, type: type[T]) -> T:
        """The JSON of the body. Raises `ClusterError` for what is not of this type."""
        try:
            return msgspec.json.decode(self.body, type=type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CLUSTER.is_unintelligible(error) from error


class ClusterClient:
    """Asks the cluster of the first kubeconfig at `places` that says something, looked for at each request anew."""

    def __init__(self, reactor: Any, threads: Threads, runner: ProcessRunner, places: Sequence[Path]) -> None:
        self._reactor = reactor
        self._threads = threads
        self._runner = runner
        self._places = list(places)
        self._session: Session | None = None
        self._opening = Shared(self._open_session)

    async def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = ANSWER_SECONDS,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """The whole answer to a request, of at most `limit` bytes within `seconds`.

        `path` begins with `/api/` or `/apis/` and is made of `segment`s. Raises `ClusterAbsent` where no cluster is,
        what `refusal` makes of a status from 400 on, and `ClusterError`.
        """

        async def exchange() -> Answer:
            status, body = await self._send(method, path, query, content, content_type, accept, streams=False)
            try:
                return Answer(status, await body.collect(limit))
            finally:
                body.close()

        return await self._within(seconds, exchange())

    async def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        accept: str = "application/json",
        seconds: float = ANSWER_SECONDS,
    ) -> Body:
        """The body of an answer that is a stream, for the caller to close; `seconds` is for its beginning only.

        Raises what `call` raises.
        """
        sending = self._send(method, path, query, None, "", accept, streams=True)
        return (await self._within(seconds, sending))[1]

    async def target(self) -> Target:
        """Where requests go, for a connection of another kind. Raises `ClusterAbsent` or `ClusterError`."""
        session = await self._current()
        connections, credential = await session.connections()
        return connections.target(credential)

    async def default_namespace(self) -> str:
        """The namespace of the context. Raises `ClusterAbsent` or `ClusterError`."""
        session = await self._current()
        return session.access.selected.namespace

    def forget(self) -> None:
        """Let go of idle connections and of all that was read: the next request begins anew."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _within(self, seconds: float, exchange: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._reactor, seconds, Deferred.fromCoroutine(exchange))
        except TimeoutError:
            raise CLUSTER.was_silent(seconds) from None

    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        content: bytes | None,
        content_type: str,
        accept: str,
        *,
        streams: bool,
    ) -> tuple[int, Body]:
        from appliance.host.outgoing import agent

        session = await self._current()
        connections, credential = await session.connections()
        target = connections.target(credential)
        client = connections.client(target, streams=streams)
        headers: dict[str, list[str]] = {"Accept": [accept]}
        for name, value in target.headers:
            headers.setdefault(name, []).append(value)
        if content is not None:
            headers["Content-Type"] = [content_type]
        url = f"{target.server.base}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = await client.request(
                method,
                url,
                headers=headers,
                data=content or None,
                unbuffered=True,
                allow_redirects=False,
                reactor=self._reactor,
            )
        except ConnectingCancelledError:
            raise CancelledError from None  # what the others get, and what a timeout is made of
        except agent.NOT_CONNECTED as error:
            raise ClusterAbsent(f"No cluster answers at {target.server.authority}") from error
        except agent.BROKEN as error:
            if agent.was_cancelled(error):
                raise CancelledError from None
            raise _broken(error, target.server.authority) from error
        body = Body(self._reactor, agent.WHOLE, CLUSTER)
        response.deliverBody(body)
        if 200 <= response.code < 300:
            return response.code, body
        try:
            if response.code < 400:
                raise ClusterError(f"{target.server.authority} sends elsewhere (status {response.code})")
            raise refusal(response.code, await body.collect(_REFUSAL_LIMIT), target.context)
        finally:
            body.close()

    async def _current(self) -> Session:
        """The session that counts now. Raises `ClusterAbsent` or `ClusterError`."""
        if self._session is not None and self._session.access.is_current():
            return self._session
        if not any(place.exists() for place in self._places):
            self.forget()
            raise ClusterAbsent(f"There is no kubeconfig at {' or '.join(map(str, self._places))}")
        return await self._opening.result()

    async def _open_session(self) -> Session:
        self.forget()
        found = await self._threads.run(find, self._places)
        self._session = open_session(self._reactor, self._threads, found)
        return self._session


def segment(name: str) -> str:
    """One segment of a path."""
    return quote(name, safe="")


def _broken(error: Exception, authority: str) -> ClusterError:
    """What a broken connection is told as: TLS says more of it than others."""
    for reason in getattr(error, "reasons", ()):
        if isinstance(reason.value, NotTrusted):
            return reason.value
        if isinstance(reason.value, SSL.Error):
            return ClusterError(f"TLS with {authority} fails: {_words(reason.value)}")
    return ClusterError(str(CLUSTER.broke_after_asking()))


def _words(error: Exception) -> str:
    """OpenSSL's own words for what went wrong."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in queue) or "the connection ended"
