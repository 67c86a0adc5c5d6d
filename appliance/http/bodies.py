"""Request bodies as they arrive: nothing, JSON, or a urlencoded form. Multipart forms are in `multipart_form`."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred

from appliance.http.call import Call, parse_query
from appliance.http.endpoints import FormBody, JsonBody, RawBody
from appliance.http.errors import HttpError, bad_request, too_large
from appliance.http.run_now import run_now

IGNORED_BODY_LIMIT = 64 * 1024

Authorise = Callable[[Mapping[str, str]], Awaitable[None]]
"""Called with the form's fields so far when the credentials were neither in query nor headers; raises a 403."""


class InvalidInput(HttpError):
    """A 400: the part of the request that is wrong (`body`, `query`, `path`), the field in it, and why."""

    def __init__(self, where: str, field: str, why: str) -> None:
        super().__init__(400, f"Invalid {where}: {field}: {why}" if field else f"Invalid {where}: {why}")
        self.where = where
        self.field = field
        self.why = why


class Receiver(Protocol):
    """Takes a body in the pieces in which it arrives."""

    def feed(self, data: bytes) -> Deferred[None] | None:
        """Take a piece; a Deferred in return means: no more until it fires. Raises an `HttpError` to refuse."""

    async def finish(self) -> object:
        """After the last piece: return the decoded body, or raise an `HttpError`."""

    async def discard(self) -> None:
        """Drop what is held; called once at the end of every request, whatever came of it."""


class IgnoredBody:
    """For endpoints that take no body: reads a little and forgets it."""

    def __init__(self) -> None:
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Count, and refuse beyond 64 KiB."""
        self._size += len(data)
        if self._size > IGNORED_BODY_LIMIT:
            raise too_large(IGNORED_BODY_LIMIT)

    async def finish(self) -> None:
        """There is nothing to return."""

    async def discard(self) -> None:
        """There is nothing to drop."""


class CollectedBody:
    """Collects a body up to `limit` bytes in memory and hands it to `decode` at the end.

    Beyond the limit it is refused: by what `too_long` raises, where that is given, else with 413.
    """

    def __init__(
        self,
        limit: int,
        decode: Callable[[bytes], Awaitable[object]],
        too_long: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._limit = limit
        self._decode = decode
        self._too_long = too_long
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Deferred[None] | None:
        """Keep a piece; refuse it beyond the limit."""
        self._size += len(data)
        if self._size > self._limit:
            self._pieces.clear()
            if self._too_long is None:
                raise too_large(self._limit)
            return start_waiting(self._too_long())
        self._pieces.append(data)
        return None

    async def finish(self) -> object:
        """Decode what was collected."""
        return await self._decode(b"".join(self._pieces))

    async def discard(self) -> None:
        """Forget the pieces."""
        self._pieces.clear()


def json_receiver(spec: JsonBody, call: Call) -> CollectedBody:
    """A receiver for a JSON body. Raises 413 for an announced length beyond the limit and 415 for another type."""
    check_length(call, spec.limit)
    media_type = content_type(call)[0]
    if media_type not in ("", "application/json") and call.length:
        raise HttpError(415, "Unsupported media type. Expected application/json")

    async def decode(raw: bytes) -> object:
        if not raw:
            if spec.required:
                raise InvalidInput("body", "", "a JSON object is required")
            return None
        return decode_json(raw, spec.type)

    return CollectedBody(spec.limit, decode)


def raw_receiver(spec: RawBody, call: Call) -> CollectedBody:
    """A receiver that hands over the bytes. Raises 413 for an announced length beyond the limit."""
    check_length(call, spec.limit)

    async def decode(raw: bytes) -> object:
        return raw

    return CollectedBody(spec.limit, decode)


def decode_json(raw: bytes, type: type[msgspec.Struct]) -> object:
    """Decode JSON into `type`. Raises `InvalidInput` naming the field (as `network.hostname`) and the reason."""
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError as error:
        raise invalid("body", error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", "", f"malformed JSON ({error})") from None


def invalid(where: str, error: msgspec.ValidationError) -> InvalidInput:
    """Turn msgspec's "Expected `int`, got `str` - at `$.a.b`" into an `InvalidInput` for `a.b`."""
    why, _, place = str(error).partition(" - at `$")
    return InvalidInput(where, place.rstrip("`").lstrip("."), why)


def urlencoded_receiver(spec: FormBody, call: Call, authorise: Authorise | None) -> CollectedBody:
    """A receiver for an `application/x-www-form-urlencoded` form, for forms without files.

    Where credentials may still come in a field (`authorise` given), they are asked for before anything else is refused.
    """
    limit = min(spec.limit, IGNORED_BODY_LIMIT)
    if authorise is None:
        check_length(call, limit)

    async def too_long() -> None:
        if authorise is not None:
            await authorise({})
        raise too_large(limit)

    async def decode(raw: bytes) -> object:
        try:
            fields = _single_values(raw)
        except HttpError:
            if authorise is not None:
                await authorise({})
            raise
        if authorise is not None:
            await authorise(fields)
        return form_value(spec, dict(fields))

    return CollectedBody(limit, decode, too_long)


def _single_values(raw: bytes) -> dict[str, str]:
    fields = {}
    for name, values in parse_query(raw).items():
        if len(values) > 1:
            raise bad_request(f"Duplicate field: {name}")
        fields[name] = values[0]
    return fields


def form_value(spec: FormBody, values: Mapping[str, object]) -> object:
    """Build the form's struct of the parts that came. Raises a 400 for a missing or mistyped part."""
    known = {}
    for field in msgspec.structs.fields(spec.type):
        value = values.get(field.encode_name)
        if value is None:
            if field.required:
                raise bad_request(f"Missing field: {field.encode_name}")
            continue
        if not _accepts(field.type, value):
            wanted = "a text field" if isinstance(value, str) is False else "a file"
            raise bad_request(f"Invalid field: {field.encode_name}. Expected {wanted}")
        known[field.name] = value
    return spec.type(**known)


def _accepts(annotation: object, value: object) -> bool:
    members = getattr(annotation, "__args__", (annotation,))
    return any(isinstance(member, type) and isinstance(value, member) for member in members)


def check_length(call: Call, limit: int) -> None:
    """Raise 413 when the announced length is beyond `limit` bytes."""
    if call.length is not None and call.length > limit:
        raise too_large(limit)


_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def content_type(call: Call) -> tuple[str, dict[str, str]]:
    """Return the request's media type in lower case ("" where none) and its parameters (RFC 9110 section 8.3.1)."""
    value = call.header("Content-Type") or ""
    media_type, _, _ = value.partition(";")
    parameters = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PARAMETER.findall(value)
    }
    return media_type.strip().lower(), parameters


def start_waiting(waiting: Awaitable[None]) -> Deferred[None] | None:
    """Run an awaitable now; return None when it is done already, else its Deferred."""

    async def wait() -> None:
        await waiting

    result = run_now(wait())
    return result if isinstance(result, Deferred) else None
