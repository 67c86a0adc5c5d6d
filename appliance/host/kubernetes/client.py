"""Requests to the cluster: which cluster, as whom, how long, how much, how often, and what a refusal means."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError

from appliance.host.kubernetes.access import find, stamp
from appliance.host.kubernetes.errors import CLUSTER, ClusterAbsent, ClusterError
from appliance.host.kubernetes.exchange import Query, Reply, Request, exchange
from appliance.host.kubernetes.exchange import segment as segment  # part of this module's interface
from appliance.host.kubernetes.refusals import refusal
from appliance.host.kubernetes.session import Session, open_session
from appliance.host.kubernetes.target import Target
from appliance.host.outgoing.body import Body
from appliance.host.outgoing.peer import UNREADABLE
from appliance.host.shared import Shared
from appliance.process.reactor import sleep, within
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

T = TypeVar("T")

ANSWER_SECONDS = 30.0
ANSWER_LIMIT = 16 << 20
CALLS_AT_ONCE = 16
"""Answers that are waited for; further calls wait for their turn, which counts as part of their time."""

_REFUSAL_LIMIT = 1 << 20
"""Bytes of a refusal: it names every field that is wrong, and each twice."""

_PAUSES, _PAUSE_SECONDS = 2, 5
"""How often, and how long at most, a GET waits where a busy API server asks for that (429, Retry-After)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: a status below 300, and a body."""

    status: int
    body: bytes

    def decode(self, type: type[T]) -> T:
        """The JSON of the body. Raises `ClusterError` for what is not of this type."""
        try:
            return msgspec.json.decode(self.body, type=type)
        except UNREADABLE as error:
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
        self._turns = DeferredSemaphore(CALLS_AT_ONCE)

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
        request = Request(method, path, query, accept, content, content_type)
        return await self._within(seconds, self._answer(request, limit))

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
        request = Request(method, path, query, accept)
        return (await self._within(seconds, self._send(request, streams=True))).body

    async def target(self) -> Target:
        """Where requests go, for a connection of another kind. Raises `ClusterAbsent` or `ClusterError`."""
        return (await (await self._current()).line()).target

    async def default_namespace(self) -> str:
        """The namespace of the context. Raises `ClusterAbsent` or `ClusterError`."""
        return (await self._current()).access.selected.namespace

    def forget(self) -> None:
        """Let go of idle connections and of all that was read: the next request begins anew."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._reactor, seconds, Deferred.fromCoroutine(work))
        except TimeoutError:
            raise CLUSTER.was_silent(seconds) from None

    async def _answer(self, request: Request, limit: int) -> Answer:
        async with self._turns:
            reply = await self._send(request, streams=False)
            try:
                return Answer(reply.status, await reply.body.collect(limit))
            finally:
                reply.body.close()

    async def _send(self, request: Request, *, streams: bool) -> Reply:
        """The answer to a request that is not refused, after asking once more where that may help."""
        pauses, renewed = 0, False
        while True:
            session = await self._current()
            line = await session.line()
            reply = await exchange(self._reactor, line, request, streams=streams)
            if reply.status < 300:
                return reply
            try:
                if reply.status == 401 and not renewed and session.credentials.refused(line.credential):
                    renewed = True
                elif reply.status == 429 and request.method == "GET" and pauses < _PAUSES:
                    pauses += 1
                    await self._pause(reply.retry_after)
                else:
                    raise await _refusal(reply, line.target)
            finally:
                reply.body.close()

    async def _pause(self, seconds: int | None) -> None:
        """Wait as the server asks for. Raises `ClusterError` where that is too long."""
        if seconds is not None and seconds > _PAUSE_SECONDS:
            raise ClusterError(f"Kubernetes is too busy: it asks for another try in {seconds} seconds")
        await sleep(self._reactor, max(seconds or 0, 1))

    async def _current(self) -> Session:
        """The session that counts now. Raises `ClusterAbsent` or `ClusterError`."""
        if self._session is not None and self._session.access.is_current():
            return self._session
        if all(stamp(place) is None for place in self._places):
            self.forget()
            raise ClusterAbsent(f"There is no kubeconfig at {' or '.join(map(str, self._places))}")
        return await self._opening.result()

    async def _open_session(self) -> Session:
        self.forget()
        access = await self._threads.run(find, self._places)
        self._session = open_session(self._reactor, self._threads, self._runner, access)
        return self._session


async def _refusal(reply: Reply, target: Target) -> Exception:
    """What a status from 300 on is raised as."""
    if reply.status < 400:
        return ClusterError(f"{target.server.authority} sends us elsewhere, where we do not go (status {reply.status})")
    return refusal(reply.status, await reply.body.collect(_REFUSAL_LIMIT), target.context)
