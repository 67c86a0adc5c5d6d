"""What happens to containers, images, networks and volumes: one ear at the engine for all who want to hear."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.background import Background
from appliance.host.containers.docker.client import EngineClient
from appliance.host.containers.docker.failures import DOCKER
from appliance.host.containers.docker.wire import Actor, EventMessage
from appliance.host.containers.errors import EngineError
from appliance.host.containers.masking import mask_labels
from appliance.host.errors import HostError
from appliance.host.outgoing.json_lines import JsonLines
from appliance.process.reactor import sleep

Type = Literal["container", "image", "network", "volume"]
TYPES: tuple[Type, ...] = ("container", "image", "network", "volume")
AGAIN_SECONDS = 2.0
"""How long to wait before an engine that has gone is looked for again."""
_LINE_LIMIT = 1 << 20
_FILTERS = msgspec.json.encode({"type": list(TYPES)}).decode()
_FACTS = frozenset(
    ["container", "containerExitCode", "driver", "execID", "exitCode", "image", "name", "podId", "signal", "type"]
)
"""Attributes that are the engine's own; the others are labels."""


class ContainerEvent(msgspec.Struct, tag_field="kind", tag="container", frozen=True):
    """Something that happened to the `type` of thing with this `id`: `action` is as `start` or `die`.

    For those who are no administrators, commands are left out of `action`, and most labels are `***`.
    """

    id: str
    name: str
    action: str
    type: str
    timestamp: datetime
    attributes: dict[str, str]

    def masked(self) -> "ContainerEvent":
        """Without what may hold secrets."""
        facts = {name: value for name, value in self.attributes.items() if name in _FACTS}
        labels = {name: value for name, value in self.attributes.items() if name not in _FACTS}
        return msgspec.structs.replace(
            self, action=self.action.partition(":")[0], attributes=facts | mask_labels(labels)
        )


Listener = Callable[[ContainerEvent], None]


class DockerEvents:
    """Listens to the engine as long as somebody wants to hear, also after the engine was away."""

    _log = Logger()

    def __init__(self, reactor: Any, client: EngineClient, background: Background) -> None:
        self._reactor = reactor
        self._client = client
        self._background = background
        self._listeners: dict[object, Listener] = {}
        self._listening: Deferred[None] | None = None
        self._heard = 0  # when the last event happened, in nanoseconds since 1970

    async def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with what happens from now on; what is returned ends that.

        Raises `EngineError` where there is no engine now.
        """
        now = self._now()
        await self._client.engine()
        key = object()
        self._listeners[key] = listener
        if self._listening is None:
            self._heard = now
            self._listening = Deferred.fromCoroutine(self._listen())
            self._background.own("listening to Docker", self._listening)
        return lambda: self._leave(key)

    def _leave(self, key: object) -> None:
        self._listeners.pop(key, None)
        if not self._listeners and self._listening is not None:
            listening, self._listening = self._listening, None
            listening.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except HostError as error:
                self._log.info("Docker's events are not heard at the moment: {error}", error=error)
            await sleep(self._reactor, AGAIN_SECONDS)

    async def _hear(self) -> None:
        """Tell what has happened since the last event, and what happens, until the engine hangs up."""
        query = {"since": _seconds(self._heard + 1), "filters": _FILTERS}
        body = await self._client.open("GET", "/events", query)
        try:
            lines = JsonLines(EventMessage, _LINE_LIMIT, DOCKER)
            while data := await body.read():
                for message in lines.feed(data):
                    self._heard = max(self._heard, message.time_nano)
                    self._tell(message)
        except EngineError:
            self._heard = max(self._heard, self._now())  # not again what cannot be understood
            raise
        finally:
            body.close()

    def _tell(self, message: EventMessage) -> None:
        event = _event(message)
        for listener in list(self._listeners.values()):
            listener(event)

    def _now(self) -> int:
        seconds: float = self._reactor.seconds()
        return round(seconds * 1e9)


def _event(message: EventMessage) -> ContainerEvent:
    actor = message.actor or Actor()
    attributes = actor.attributes or {}
    return ContainerEvent(
        id=actor.id,
        name=attributes.get("name", actor.id),
        action=message.action,
        type=message.type,
        timestamp=datetime.fromtimestamp(message.time_nano / 1e9, UTC),
        attributes=attributes,
    )


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
