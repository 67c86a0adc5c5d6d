"""What every WebSocket here says and hears (system contract, "WebSockets"): `{type, payload?, data?, id?}` as JSON.

`Incoming` is the part that all messages share. What belongs to one type is decoded by whoever deals with it, into a
struct of its own: `message.decode(Resize)`.
"""

from typing import Annotated, Literal, TypeVar

import msgspec

Type = Literal["auth", "subscribe", "unsubscribe", "input", "resize", "ping"]
Id = Annotated[str, msgspec.Meta(max_length=128)] | int
"""A client may number its messages; what answers one bears the same `id`."""

T = TypeVar("T", bound=msgspec.Struct)

UNREADABLE = "INVALID_MESSAGE"
INVALID = "INVALID_INPUT"


class BadMessage(Exception):
    """A message that cannot be read: the error's code, and its text for the client."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Head(msgspec.Struct, frozen=True):
    type: Type
    id: Id | None = None


class Incoming:
    """A message of the client."""

    __slots__ = ("_raw", "id", "type")

    def __init__(self, raw: bytes) -> None:
        """Read a text message. Raises `BadMessage`."""
        head = _decode_head(raw)
        self.type: Type = head.type
        self.id = head.id
        self._raw = raw

    def decode(self, type: type[T]) -> T:
        """The whole message as `type`, a struct with limits for its fields. Raises `BadMessage`."""
        try:
            return msgspec.json.decode(self._raw, type=type)
        except msgspec.ValidationError as error:
            raise BadMessage(INVALID, _explained(error)) from None


class _AuthPayload(msgspec.Struct):
    token: str = ""


class Auth(msgspec.Struct):
    """`auth`: the token of a log-in or an API token, in the payload or beside it."""

    payload: _AuthPayload | None = None
    token: str = ""

    @property
    def shown(self) -> str:
        """The token; "" where there is none."""
        return (self.payload.token if self.payload is not None else "") or self.token


class AuthResult(msgspec.Struct):
    """Who the client is now."""

    authenticated: bool
    username: str


class Authenticated(msgspec.Struct, tag_field="type", tag="auth", omit_defaults=True):
    """The answer to a good `auth`."""

    payload: AuthResult
    id: Id | None = None


class Pong(msgspec.Struct, tag_field="type", tag="pong", omit_defaults=True):
    """The answer to `ping`."""

    id: Id | None = None


class ErrorPayload(msgspec.Struct):
    """What an error says, once more: some clients look for it here."""

    message: str
    code: str


class Error(msgspec.Struct, tag_field="type", tag="error", omit_defaults=True):
    """A refusal: `error` for people, `code` for programs."""

    error: str
    code: str
    payload: ErrorPayload
    id: Id | None = None


_encode = msgspec.json.Encoder().encode
_head_decoder = msgspec.json.Decoder(_Head)


def encode(message: msgspec.Struct) -> bytes:
    """A message as it is sent."""
    return _encode(message)


def error(code: str, text: str, id: Id | None = None) -> Error:
    """The refusal of the message `id`, where it had one."""
    return Error(text, code, ErrorPayload(text, code), id)


def _decode_head(raw: bytes) -> _Head:
    try:
        return _head_decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise BadMessage(UNREADABLE, _explained(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise BadMessage(UNREADABLE, "Not JSON") from None


def _explained(error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.payload.cols`" with the field first."""
    why, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    return f"{field}: {why}" if field else why
