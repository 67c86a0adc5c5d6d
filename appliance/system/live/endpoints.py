"""The paths of the WebSockets. `who=anyone` lets everybody knock; who may come in is told to the door."""

from collections.abc import Mapping

from appliance.database.trail import Trail
from appliance.host.terminals.terminals import Terminals
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Upgrade
from appliance.identity.caller import anyone, reader
from appliance.system.live.door import Door
from appliance.system.live.events import EventsChannel, Source
from appliance.system.live.feed import Feed
from appliance.system.live.metrics import MetricsChannel
from appliance.system.live.peer import Peer
from appliance.system.live.terminal import TerminalChannel


class LiveEndpoints:
    """/ws/metrics and /ws/events."""

    routes = Routes(tag="Live")

    def __init__(self, door: Door, metrics: Feed, sources: Mapping[str, Source]) -> None:
        self._door = door
        self._metrics = metrics
        self._sources = sources

    @routes.get("/metrics", who=anyone, listed=False)
    async def metrics(self, call: Call) -> Upgrade:
        """The machine's figures, every so many seconds."""
        return await self._door.enter(call, reader, lambda peer: MetricsChannel(peer, self._metrics))

    @routes.get("/events", who=anyone, listed=False)
    async def events(self, call: Call) -> Upgrade:
        """Several kinds of events on one socket."""
        return await self._door.enter(call, reader, lambda peer: EventsChannel(peer, self._sources))


class TerminalEndpoints:
    """/ws/terminal."""

    routes = Routes(tag="Live")

    def __init__(self, door: Door, terminals: Terminals, trail: Trail) -> None:
        self._door = door
        self._terminals = terminals
        self._trail = trail

    @routes.get("/terminal", who=anyone, listed=False)
    async def terminal(self, call: Call) -> Upgrade:
        """A shell of the user who asks, on a terminal."""
        return await self._door.enter(call, reader, self._make)

    def _make(self, peer: Peer) -> TerminalChannel:
        return TerminalChannel(peer, self._terminals, self._trail)
