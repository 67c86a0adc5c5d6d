"""Requests to the engine: which socket, which version of the API, how long, how much, and what a refusal means."""

import os
import stat
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from appliance.host.containers.docker.failures import DOCKER, refusal
from appliance.host.containers.docker.hijack import Hijacked, hijack
from appliance.host.containers.docker.wire import EngineVersion
from appliance.host.containers.errors import EngineAbsent, EngineError
from appliance.host.outgoing.body import Body
from appliance.host.outgoing.peer import UNREADABLE
from appliance.process.reactor import within

if TYPE_CHECKING:
    from appliance.host.outgoing.connections import Connections

T = TypeVar("T")

PLACES = (Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
"""Where Docker listens and, for those who ask as Docker's clients do, Podman."""

OLDEST, NEWEST = (1, 40), (1, 45)
"""The versions of the API that are spoken here: those of Docker 19.03 and 26.0."""

ANSWER_SECONDS = 30.0
ANSWER_LIMIT = 8 << 20
_REFUSAL_LIMIT = 64 * 1024
_VERSION_SECONDS = 60.0
"""How long a version counts, for an engine may be replaced behind a socket that stays."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Who answers at a socket: `docker` or `podman`, and the version of the API to speak."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: a status below 400, and a body."""

    status: int
    body: bytes

    def decode(self, type: type[T]) -> T:
        """The JSON of the body. Raises `EngineError` for what is not of this type."""
        try:
            return msgspec.json.decode(self.body, type=type)
        except UNREADABLE as error:
            raise DOCKER.is_unintelligible(error) from error


class EngineClient:
    """Asks whichever engine answers first at `places`, looked for at each request anew."""

    def __init__(self, reactor: Any, places: Sequence[Path] = PLACES) -> None:
        self._reactor = reactor
        self._places = [_Place(reactor, path) for path in places]

    async def engine(self) -> Engine:
        """Who would answer now. Raises `EngineAbsent` or `EngineError`."""
        for place in self._places:
            try:
                return await place.engine()
            except EngineAbsent:
                continue
        raise self._absent()

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """The whole answer to a request, of at most `ANSWER_LIMIT` bytes within `seconds`.

        `path` is made of `segment`s, `json` encoded as the body. Raises `EngineAbsent` where no engine is there, what
        `refusal` makes of a status from 400 on, and `EngineError`.
        """

        async def exchange() -> Answer:
            status, body = await self._send(method, path, query, json, headers, streams=False)
            try:
                return Answer(status, await body.collect(ANSWER_LIMIT))
            finally:
                body.close()

        return await self._within(seconds, exchange())

    async def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Body:
        """The body of an answer that is a stream, for the caller to close; `seconds` is for its beginning only.

        Raises what `call` raises.
        """
        sending = self._send(method, path, query, None, headers, streams=True)
        return (await self._within(seconds, sending))[1]

    async def hijack(self, path: str, content: object, seconds: float = ANSWER_SECONDS) -> Hijacked:
        """A connection that is taken over after posting `content` to `path`, for the caller to close.

        Raises what `call` raises.
        """

        async def take_over() -> Hijacked:
            for place in self._places:
                try:
                    engine = await place.engine()
                    return await hijack(self._reactor, place.path, f"/v{engine.version}{path}", content)
                except EngineAbsent:
                    continue
            raise self._absent()

        return await self._within(seconds, take_over())

    def close(self) -> None:
        """Close the connections that are kept; what is asked afterwards opens others."""
        for place in self._places:
            place.close()

    async def _within(self, seconds: float, exchange: Coroutine[Any, Any, T]) -> T:
        try:
            return await within(self._reactor, seconds, Deferred.fromCoroutine(exchange))
        except TimeoutError:
            raise DOCKER.was_silent(seconds) from None

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        json: object,
        headers: Mapping[str, str] | None,
        *,
        streams: bool,
    ) -> tuple[int, Body]:
        target = f"{path}?{urlencode(query)}" if query else path
        for place in self._places:
            try:
                engine = await place.engine()
                return await place.send(method, f"/v{engine.version}{target}", json, headers, streams=streams)
            except EngineAbsent:
                continue
        raise self._absent()

    def _absent(self) -> EngineAbsent:
        tried = " or ".join(str(place.path) for place in self._places)
        return EngineAbsent(f"Docker is not running: nothing answers at {tried}")


class _Place:
    """One socket."""

    def __init__(self, reactor: Any, path: Path) -> None:
        self.path = path
        self._reactor = reactor
        self._connections: Connections | None = None  # made when they are first needed
        self._engine: Engine | None = None
        self._known: tuple[int, ...] = ()
        self._known_until = 0.0

    async def engine(self) -> Engine:
        """Who answers, asked once a minute and whenever the socket is another one."""
        identity = self._identity()
        if identity != self._known:
            self.close()  # whoever is at the other end is not who listens here now
        if self._engine is None or identity != self._known or self._reactor.seconds() > self._known_until:
            _, body = await self.send("GET", "/version")
            try:
                answer = Answer(200, await body.collect(_REFUSAL_LIMIT))
            finally:
                body.close()
            self._engine = _negotiated(answer.decode(EngineVersion))
            self._known, self._known_until = identity, self._reactor.seconds() + _VERSION_SECONDS
        return self._engine

    async def send(
        self,
        method: str,
        target: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        streams: bool = False,
    ) -> tuple[int, Body]:
        """The status and body of an answer. Raises `EngineAbsent` for what was not sent, and as `call` does."""
        from appliance.host.containers.docker.connections import connections
        from appliance.host.outgoing import agent

        if self._connections is None:
            self._connections = connections(self._reactor, self.path)
        sent = dict(headers or {})
        content = None
        if json is not None:
            content = msgspec.json.encode(json)
            sent["Content-Type"] = "application/json"
        try:
            response = await self._connections.request(
                method, f"http://docker{target}", sent.items(), content, streams=streams
            )
        except agent.NOT_CONNECTED as error:
            raise EngineAbsent(f"nothing answers at {self.path}") from error
        except agent.BROKEN as error:
            if agent.was_cancelled(error):
                raise CancelledError from None
            raise DOCKER.broke_after_asking() from error
        body = Body(self._reactor, agent.WHOLE, DOCKER)
        response.deliverBody(body)
        if response.code < 400:
            return response.code, body
        try:
            raise refusal(response.code, await body.collect(_REFUSAL_LIMIT))
        finally:
            body.close()

    def close(self) -> None:
        """Close what is kept open without a request."""
        if self._connections is not None:
            self._connections.close()

    def _identity(self) -> tuple[int, ...]:
        """What tells this socket from one that is made later. Raises `EngineAbsent` where there is none."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise EngineAbsent(f"there is no {self.path}") from error
        if not stat.S_ISSOCK(found.st_mode):
            raise EngineAbsent(f"{self.path} is not a socket")
        return found.st_dev, found.st_ino, found.st_ctime_ns


def segment(name: str) -> str:
    """One segment of a path; an image's name may hold several."""
    return quote(name, safe="/:@")


def _negotiated(said: EngineVersion) -> Engine:
    """Who said this, and the newest version that both sides speak; an engine's oldest where it is newer than ours."""
    newest, oldest = _numbers(said.api_version), _numbers(said.min_api_version or said.api_version)
    if newest < OLDEST:
        raise EngineError(f"Docker speaks version {said.api_version} of its API; {_text(OLDEST)} is the oldest of use")
    podman = any("podman" in component.name.lower() for component in said.components or ())
    return Engine("podman" if podman else "docker", _text(max(min(newest, NEWEST), oldest)))


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise EngineError(f"Docker names no version of its API but {version[:20]!r}")
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
