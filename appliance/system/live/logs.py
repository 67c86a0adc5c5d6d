"""`/ws/logs`, and the channel `log-events` of `/ws/events`: the log as it is written."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from appliance.background import Background
from appliance.host.journal.follow.batch import Batch, LiveEntry
from appliance.host.journal.follow.followers import Followers, Wanted
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.http.replies import Upgrade
from appliance.identity.caller import anyone, reader
from appliance.system.envelope import translate
from appliance.system.live.channel import Channel
from appliance.system.live.door import Door
from appliance.system.live.events import UNKNOWN, Stream
from appliance.system.live.log_messages import Subscribe, data_frame, end, event_frame
from appliance.system.live.messages import BadMessage, Id, Incoming
from appliance.system.live.peer import Peer
from appliance.websocket.frames import INTERNAL_ERROR

Form = Callable[[LiveEntry], bytes]

LOGS = "logs"
LOG_EVENTS = "log-events"


class LogStream:
    """Entries on their way to one client: a listener of the host's."""

    def __init__(self, peer: Peer, channel: str, form: Form, id: Id | None) -> None:
        """They belong to the subscription `id` of `channel`; `form` makes frames of them."""
        self._peer = peer
        self._channel = channel
        self._form = form
        self._id = id
        self._work: Deferred[None] | None = None

    def begin(self, followers: Followers, wanted: Wanted, background: Background) -> None:
        """Send what is wanted, and then that it was all; or why it cannot be had."""
        self._work = Deferred.fromCoroutine(self._send(followers, wanted))
        background.own("sending the log", self._work)

    def close(self) -> None:
        """Send no more."""
        if self._work is not None:
            self._work.cancel()

    # What the host calls

    @property
    def slow(self) -> bool:
        """Whether the client does not keep up."""
        return self._peer.slow

    def deliver(self, batch: Batch) -> None:
        """Send entries."""
        self._peer.send_prepared(batch.encoded(self._form))

    async def drained(self) -> None:
        """Return when the client keeps up again, or has gone."""
        await self._peer.drained()

    async def _send(self, followers: Followers, wanted: Wanted) -> None:
        try:
            await followers.follow(wanted, self)
        except CancelledError:
            raise
        except Exception as problem:
            known = translate(problem)
            if known is None:
                self._peer.close(INTERNAL_ERROR, "internal error")
                raise
            self._peer.refuse(known, self._id)
        else:
            self._peer.send(end(self._channel, self._id))


class LogStreams:
    """Makes the streams of all clients."""

    def __init__(self, clock: IReactorTime, background: Background, followers: Followers) -> None:
        self._clock = clock
        self._background = background
        self._followers = followers

    def wanted(self, message: Incoming) -> Wanted:
        """What a subscription asks for. Raises `BadMessage`, `Invalid`."""
        return message.decode(Subscribe).filters.wanted(self._clock.seconds())

    def open(self, peer: Peer, channel: str, form: Form, wanted: Wanted, id: Id | None) -> LogStream:
        """Begin to send entries."""
        stream = LogStream(peer, channel, form, id)
        stream.begin(self._followers, wanted, self._background)
        return stream


class LogsChannel(Channel):
    """One client's subscription. A second one replaces the first, unless it asks for what there cannot be."""

    def __init__(self, peer: Peer, streams: LogStreams) -> None:
        super().__init__(peer)
        self._streams = streams
        self._stream: LogStream | None = None

    async def subscribe(self, message: Incoming) -> None:
        """Begin to send entries."""
        wanted = self._streams.wanted(message)
        self._close()
        self._stream = self._streams.open(self.peer, LOGS, data_frame, wanted, message.id)

    async def unsubscribe(self, message: Incoming) -> None:
        """Send no more."""
        self._close()

    def closed(self) -> None:
        """The client is gone."""
        self._close()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class LogSource:
    """The channel `log-events`."""

    who = reader

    def __init__(self, streams: LogStreams) -> None:
        self._streams = streams

    async def open(self, peer: Peer, argument: str, message: Incoming) -> Stream:
        """Begin to send entries."""
        if argument:
            raise BadMessage(UNKNOWN, f"The channel {LOG_EVENTS} takes nothing behind its name")
        return self._streams.open(peer, LOG_EVENTS, event_frame, self._streams.wanted(message), message.id)


class LiveLogEndpoints:
    """/ws/logs."""

    routes = Routes(tag="Live")

    def __init__(self, door: Door, streams: LogStreams) -> None:
        self._door = door
        self._streams = streams

    @routes.get("/logs", who=anyone, listed=False)
    async def logs(self, call: Call) -> Upgrade:
        """The log as it is written."""
        return await self._door.enter(call, reader, lambda peer: LogsChannel(peer, self._streams))
