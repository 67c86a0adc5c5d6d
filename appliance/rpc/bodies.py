"""Small JSON bodies, refused in the words of this surface."""

from typing import TypeVar

import msgspec

from appliance.http.bodies import invalid
from appliance.rpc.errors import malformed

T = TypeVar("T", bound=msgspec.Struct)


def decode_body(raw: bytes, kind: type[T]) -> T:
    """Decode a body, whatever type was announced. Raises a 400 that names the field."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        why = invalid("body", error)
        raise malformed(f"{why.field}: {why.why}" if why.field else why.why) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"malformed JSON ({error})") from None
