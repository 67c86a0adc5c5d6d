"""multipart/form-data (RFC 7578), parsed while it arrives: files go to disk, small parts and texts to memory."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import NoReturn, get_args

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, StrictParserError
from twisted.internet.defer import Deferred

from appliance.http.bodies import Authorise, check_length, content_type, form_value, start_waiting
from appliance.http.call import Call
from appliance.http.endpoints import FormBody
from appliance.http.errors import HttpError, bad_request, forbidden, too_large
from appliance.http.uploads import FileSink, Flow, Part, Upload
from appliance.threads import Threads

CREDENTIALS_WITHIN = 64 * 1024
TEXT_LIMIT = 8 * 1024
PART_LIMIT = 1024 * 1024
MAX_PARTS = 40

Events = Generator[MultipartSegment | bytes | bytearray | None, None, None]


class MultipartForm:
    """Receives one form into the struct of `spec`.

    Where credentials may still come in a field (`authorise` given), they must do so before the first file part and
    within the first 64 KiB; until then nothing is stored, and nothing else is refused before they are. Raises 400 for
    what is malformed, a part that comes twice or a file part nobody asked for; 413 beyond a limit; whatever
    `authorise` raises.
    """

    def __init__(
        self,
        spec: FormBody,
        call: Call,
        authorise: Authorise | None,
        threads: Threads,
        flow: Flow,
        folder: Path,
        limit: int,
    ) -> None:
        if authorise is None:
            check_length(call, limit)
        boundary = content_type(call)[1].get("boundary", "")
        if not 0 < len(boundary) <= 200:
            raise bad_request("Missing or invalid multipart boundary")
        try:
            self._parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS, max_header_size=4096, strict=True)
        except (MultipartError, UnicodeEncodeError):
            raise bad_request("Missing or invalid multipart boundary") from None
        self._spec = spec
        self._call = call
        self._limit = limit
        self._authorise = authorise
        self._threads = threads
        self._flow = flow
        self._folder = folder
        self._annotations = {f.encode_name: f.type for f in msgspec.structs.fields(spec.type)}
        self._received = 0
        self._values: dict[str, object] = {}
        self._sinks: dict[str, FileSink] = {}
        self._name = ""
        self._filename: str | None = None
        self._pieces: list[bytes] | None = None
        self._pieces_size = 0
        self._piece_limit = TEXT_LIMIT
        self._sink: FileSink | None = None
        self._ended = False
        self._discarded = False

    def feed(self, data: bytes) -> Deferred[None] | None:
        """Take the next bytes of the body."""
        if self._authorise is None:
            return self._parse(data)
        try:
            return self._parse_until_asked(data)
        except HttpError as error:
            if self._authorise is None:
                raise
            return _then(self._ask(), partial(_raise, error))

    def _parse_until_asked(self, data: bytes) -> Deferred[None] | None:
        """Parse up to where credentials count no more, ask for them there, go on with the rest."""
        border = CREDENTIALS_WITHIN - self._received
        if len(data) <= border:
            return self._parse(data)
        waiting = self._parse(data[:border]) if border else None
        if self._authorise is not None:
            waiting = self._ask()
        return _then(waiting, partial(self._parse, data[border:]))

    def _parse(self, data: bytes) -> Deferred[None] | None:
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        if self._ended and not data.strip(b"\r\n"):
            return None
        try:
            return self._pump(self._parser.parse(data))
        except StrictParserError as error:
            # The line end after the last boundary, when it comes by itself. Where it is something else, the form has
            # no end, and `finish` says so.
            if data.strip(b"\r\n"):
                raise _malformed(error) from None
            self._ended = True
            return None

    async def finish(self) -> object:
        """Return the form once all its files are on disk."""
        if self._authorise is not None:
            await self._authorise(self._texts())
        try:
            self._parser.close()
        except MultipartError as error:
            raise _malformed(error) from None
        values = dict(self._values)
        for name, sink in self._sinks.items():
            values[name] = self._values[name] = await sink.finish()
        return form_value(self._spec, values)

    async def discard(self) -> None:
        """Delete the files nobody took."""
        self._discarded = True
        for name, sink in self._sinks.items():
            upload = self._values.get(name)
            if isinstance(upload, Upload):
                await self._threads.run(upload.discard)
            else:
                await sink.abort()
        self._sinks.clear()

    def _pump(self, events: Events) -> Deferred[None] | None:
        try:
            for event in events:
                if self._discarded:
                    return None
                waiting = self._take(event)
                if waiting is not None:
                    return waiting.addCallback(lambda _: self._pump(events))
        except StrictParserError:
            raise
        except MultipartError as error:
            raise _malformed(error) from None
        return None

    def _take(self, event: MultipartSegment | bytes | bytearray | None) -> Deferred[None] | None:
        if event is None:
            self._end_part()
        elif isinstance(event, MultipartSegment):
            if self._is_file(event) and self._authorise is not None:
                waiting = self._ask()
                if waiting is not None:
                    return waiting.addCallback(lambda _: self._begin_part(event))
            self._begin_part(event)
        elif self._sink is not None:
            self._sink.write(bytes(event))
        elif self._pieces is not None:
            self._keep(bytes(event))
        return None

    def _ask(self) -> Deferred[None] | None:
        authorise, self._authorise = self._authorise, None
        if authorise is None:
            raise forbidden("Authentication error")

        async def ask() -> None:
            await authorise(self._texts())
            check_length(self._call, self._limit)

        return start_waiting(ask())

    def _is_file(self, segment: MultipartSegment) -> bool:
        annotation = self._annotations.get(segment.name)
        return segment.filename is not None or (annotation is not None and holds(annotation, Upload))

    def _begin_part(self, segment: MultipartSegment) -> None:
        if self._discarded:
            return
        name = segment.name
        if not name or "\0" in name or "\0" in (segment.filename or ""):
            raise bad_request("Malformed multipart body: a part without a usable name")
        if name in self._values or name in self._sinks:
            raise bad_request(f"Duplicate field: {name}")
        annotation = self._annotations.get(name)
        if annotation is None and segment.filename is not None:
            raise bad_request(f"Unexpected file: {name}")
        if segment.filename is None and annotation is not None and holds(annotation, Upload):
            raise bad_request(f"Invalid field: {name}. Expected a file")
        self._name, self._filename = name, segment.filename
        self._values[name] = ""
        if annotation is not None and holds(annotation, Upload):
            del self._values[name]
            self._sinks[name] = self._sink = FileSink(
                self._threads, self._flow, self._folder, segment.filename, self._call.length, self._limit
            )
        else:
            self._pieces, self._pieces_size = [], 0
            self._piece_limit = PART_LIMIT if annotation is not None and holds(annotation, Part) else TEXT_LIMIT

    def _keep(self, data: bytes) -> None:
        self._pieces_size += len(data)
        if self._pieces_size > self._piece_limit:
            raise bad_request(f"Invalid field: {self._name}. Allowed: <= {self._piece_limit} bytes")
        if self._pieces is not None:
            self._pieces.append(data)

    def _end_part(self) -> None:
        if self._pieces is not None:
            content = b"".join(self._pieces)
            annotation = self._annotations.get(self._name)
            if annotation is not None and holds(annotation, Part):
                self._values[self._name] = Part(content, self._filename)
            else:
                self._values[self._name] = self._text(content)
        self._sink = None
        self._pieces = None

    def _text(self, content: bytes) -> str:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise bad_request(f"Invalid field: {self._name}. Expected UTF-8 text") from None

    def _texts(self) -> dict[str, str]:
        return {name: value for name, value in self._values.items() if isinstance(value, str)}


def _then(waiting: Deferred[None] | None, go_on: Callable[[], Deferred[None] | None]) -> Deferred[None] | None:
    return go_on() if waiting is None else waiting.addCallback(lambda _: go_on())


def _raise(error: HttpError) -> NoReturn:
    raise error


def _malformed(error: MultipartError) -> HttpError:
    return bad_request(f"Malformed multipart body: {error}")


def holds(annotation: object, wanted: type) -> bool:
    """Whether a field's annotation is `wanted`, or a union with it."""
    return annotation is wanted or wanted in get_args(annotation)
