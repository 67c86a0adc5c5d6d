"""One request on a connection: hands its head and body to the dispatcher, and the answer to its other half."""

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from appliance.http.address import host_is_valid
from appliance.http.answering import CLIENT_CLOSED_REQUEST, AnsweringRequest
from appliance.http.bodies import Receiver
from appliance.http.call import Call
from appliance.http.dispatch import Answer
from appliance.http.errors import HttpError, bad_request
from appliance.http.replies import FileReply
from appliance.http.run_now import run_now

if TYPE_CHECKING:
    from appliance.http.channel import Channel

COALESCE_AFTER = 64 * 1024
COALESCED = 128 * 1024
"""TLS hands over 16 KiB a piece; beyond the first 64 KiB a body's pieces are joined before they are parsed."""
_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class Request(AnsweringRequest):
    """Drives one request through `Dispatcher.admit` and `Dispatcher.answer`.

    Its life: head received → admitted or refused at once → body fed to the receiver → answered → done. The end of a
    request is decided here alone; handlers return values.
    """

    started_body = False

    def __init__(self, channel: "Channel", queued: object = None) -> None:
        super().__init__(channel)
        self._receiver: Receiver | None = None
        self._refusal: BaseException | None = None
        self._held: list[bytes] | None = None
        self._pieces: list[bytes] = []
        self._pieces_size = 0
        self._released: Deferred[None] | None = None
        self._task: Deferred[None] | None = None
        self._body_complete = False
        self._expects_continue = False
        self._digest: hashlib._Hash | None = None

    # -- the head -------------------------------------------------------------------------------------------------

    def head_received(self, method: bytes, target: bytes, version: bytes, length: int | None) -> None:
        """Judge the head now; a refusal is answered before any of the body is read, and before `100 Continue`."""
        self.method, self.uri, self.clientproto = method, target, version
        self.path = target.partition(b"?")[0]
        self.head_only = method == b"HEAD"
        self.started_body = True
        expected = self.requestHeaders.getRawHeaders(b"Expect")
        self._expects_continue = (
            version == b"HTTP/1.1" and expected is not None and expected[-1].lower() == b"100-continue"
        )
        try:
            call = self.call = self._make_call(length)
            admitted = run_now(self.site.dispatcher.admit(call, self))
        except Exception as error:
            self._admission_failed(error)
            return
        if isinstance(admitted, Deferred):
            self._hold(admitted.addCallback(self._admitted))
        else:
            self._admitted(admitted)

    def _make_call(self, length: int | None) -> Call:
        site = self.site
        raw_path, _, query = _origin_form(self.uri).partition(b"?")
        headers = self.requestHeaders
        call = Call(site.next_id(), self.method.decode("ascii", "replace"), raw_path, "", query, headers)
        call.started = site.clock.seconds()
        call.address = site.proxies.client(self.client.host, headers)
        call.connection = self.transport
        call.length = length
        self.call = call
        call.path = decode_path(raw_path)
        if not host_is_valid(headers, self.clientproto == b"HTTP/1.1"):
            raise bad_request("Invalid Host header")
        return call

    def _admitted(self, receiver: Receiver) -> None:
        if self._is_abandoned:
            return
        self._receiver = receiver
        if self.call is not None and self.call.expected_digest is not None:
            self._digest = hashlib.sha256()
        if self._expects_continue and self.call is not None and self.call.length != 0 and not self._body_complete:
            self.channel.continue_expected()

    @property
    def _is_abandoned(self) -> bool:
        """Whether the rest of the body will not come, or is not wanted any more."""
        return self._refusal is not None or (self._disconnected and not self._body_complete)

    def _admission_failed(self, error: BaseException) -> None:
        if self.channel.length == 0:
            self._refusal = error
        else:
            self.refuse(error)

    # -- the body -------------------------------------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        """Nothing to prepare: `head_received` has chosen who takes the body."""

    def handleContentChunk(self, data: bytes) -> None:
        """Feed a piece of the body to the receiver, or keep it while the receiver waits for something."""
        if self.finished:
            return  # refused already; the decoder goes on with what it holds of the body
        channel = self.channel
        channel.received += len(data)
        if self._held is not None:
            self._held.append(data)
        elif channel.received <= COALESCE_AFTER:
            self._feed(data)
        else:
            self._pieces.append(data)
            self._pieces_size += len(data)
            if self._pieces_size >= COALESCED:
                self._feed_pieces()

    def pause(self) -> None:
        """The receiver has enough for now (`Flow`)."""
        if not self._disconnected:
            self.channel.pause_reading()

    def resume(self) -> None:
        """The receiver wants more again (`Flow`)."""
        if not self._disconnected and not self.finished:
            self.channel.resume_reading()

    def _feed_pieces(self) -> None:
        pieces, self._pieces, self._pieces_size = self._pieces, [], 0
        if pieces:
            self._feed(b"".join(pieces))

    def _feed(self, data: bytes) -> None:
        if self._receiver is None or self.finished:
            return
        try:
            if self._digest is not None:
                self._digest.update(data)
            waiting = self._receiver.feed(data)
        except Exception as error:
            self.refuse(error)
            return
        if waiting is not None:
            self._hold(waiting)

    def _hold(self, waiting: Deferred[None]) -> None:
        self._held = []
        self.pause()
        _ = waiting.addCallbacks(self._release, self._hold_failed)
        self.site.background.own("receiving", waiting)

    def _release(self, _: None) -> None:
        held, self._held = self._held or [], None
        self.resume()
        if held and not self._is_abandoned:
            self._feed(b"".join(held))
        self._tell_released()

    def _hold_failed(self, failure: Failure) -> None:
        self._held = None
        self.resume()
        if self._body_complete:
            self._refusal = failure.value
        else:
            self.refuse(failure.value or CancelledError())
        self._tell_released()

    def _tell_released(self) -> None:
        if self._held is None and self._released is not None:
            released, self._released = self._released, None
            released.callback(None)

    def refuse(self, error: BaseException) -> None:
        """Answer now although the body is not in; what still comes of it is dropped and the connection closed."""
        if self.finished or self._disconnected:
            return
        self.channel.stop_receiving()
        self._refusal = error
        self._serve_now()

    # -- the answer -----------------------------------------------------------------------------------------------

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is in: answer."""
        self._body_complete = True
        if self._held is None:
            self._feed_pieces()
        else:
            self._held.extend(self._pieces)
            self._pieces = []
        if self.finished or self.channel.is_rejected:
            return
        self._serve_now()

    def _serve_now(self) -> None:
        if self._task is not None:
            return
        serving = run_now(self._serve())
        if isinstance(serving, Deferred):
            self._task = serving
            self.site.background.own("request", serving)

    async def _serve(self) -> None:
        try:
            await self.send(await self._reply())
        except CancelledError:
            self.break_off(HttpError(503, "The server is stopping"))
        except Exception:
            self._log.failure("request {request} broke off", request=self.call.id if self.call is not None else "")
            self.break_off(HttpError(500))
        finally:
            if self._receiver is not None:
                receiver, self._receiver = self._receiver, None
                await receiver.discard()

    async def _reply(self) -> Answer:
        call = self.call
        if call is None:
            raise RuntimeError("a request without a head cannot be answered")
        dispatcher = self.site.dispatcher
        try:
            while self._held is not None:
                self._released = Deferred()
                await self._released
            if self._refusal is not None:
                raise self._refusal
            if self._receiver is None:
                raise RuntimeError("the request was neither admitted nor refused")
            body = await self._receiver.finish()
            if self._digest is not None:
                call.body_digest = self._digest.hexdigest()
            reply = await dispatcher.answer(call, body)
            if isinstance(reply, FileReply):
                await self.open(reply)
            return reply
        except CancelledError:
            raise
        except Exception as error:
            return dispatcher.refusal(call, error)

    # -- the end --------------------------------------------------------------------------------------------------

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone: end a read, let a change whose body was complete run to its end."""
        self._disconnected = True
        endpoint = self.call.endpoint if self.call is not None else None
        task = self._task
        if task is not None and (not self._body_complete or endpoint is None or endpoint.cancellable):
            task.cancel()
        elif task is None and self._receiver is not None:
            self._feed_pieces()  # a body that is appended to a file keeps what came
            receiver, self._receiver = self._receiver, None
            self.site.background.spawn("dropped body", receiver.discard())
        if self.call is not None and not self.finished and task is None:
            self.done(CLIENT_CLOSED_REQUEST, 0)
        del self.channel


def _origin_form(target: bytes) -> bytes:
    """Reduce a target in absolute form to its path and query (RFC 9112 section 3.2.2)."""
    if target.startswith(b"/"):
        return target
    authority = _AUTHORITY.match(target)
    if authority is None:
        return target
    rest = target[authority.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


def decode_path(raw: bytes) -> str:
    """Decode a request target's path. Raises a 400 for what is not absolute, not UTF-8 or holds a control character."""
    if not raw.startswith(b"/"):
        raise bad_request("The request target must be an absolute path")
    try:
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("The path must be percent-encoded UTF-8") from None
    if not path.isprintable():
        raise bad_request("The path must not contain control characters")
    return path
