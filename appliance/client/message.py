"""Messages of a server as they are trusted: what is not of the form that is expected is a `ClientError`."""

from typing import TypeVar

import msgspec

from appliance.client.errors import ClientError

T = TypeVar("T", bound=msgspec.Struct)


class Refused(msgspec.Struct):
    """`error`: why not, for people and for programs."""

    error: str = "The server refuses, and does not say why"
    code: str = ""


class _Head(msgspec.Struct):
    type: str = ""


class Message:
    """One message; `type` is empty where it has none."""

    __slots__ = ("_raw", "type")

    def __init__(self, raw: bytes) -> None:
        """Raises `ClientError` for what is no message."""
        self._raw = raw
        self.type = self.decode(_Head).type

    def decode(self, type: type[T]) -> T:
        """The whole message as `type`. Raises `ClientError`."""
        return decode(self._raw, type)


def decode(raw: bytes | msgspec.Raw, type: type[T]) -> T:
    """JSON as `type`. Raises `ClientError`."""
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError as error:
        raise ClientError(f"The server sends a message that cannot be understood: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise ClientError("The server sends what is no message") from None
