"""The body of a call, taken apart; the payload itself stays as it came, whatever numbers are in it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from appliance.http.bodies import invalid
from appliance.rpc.models import CallRequest

_INTEGERS = {8: (-(1 << 7), (1 << 8) - 1), 16: (-(1 << 15), (1 << 16) - 1), 64: (-(1 << 63), (1 << 64) - 1)}
_INT32 = (-(1 << 31), (1 << 32) - 1)

_request = msgspec.json.Decoder(CallRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Malformed(Exception):
    """The body is not that of a call; the text says why."""


class Requested(NamedTuple):
    """Which method of which object, and the payload: a JSON object in UTF-8."""

    object: str
    method: str
    payload: bytes


def decode(raw: bytes) -> Requested:
    """Take a body apart. Raises `Malformed`. Blocking where it is large: a millisecond for three megabytes."""
    try:
        raw.decode("utf-8")
        request = _request.decode(raw)
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    except msgspec.ValidationError as error:
        why = invalid("body", error)
        raise Malformed(f"{why.field}: {why.why}" if why.field else why.why) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"malformed JSON ({error})") from None
    payload = bytes(request.payload)
    if payload == b"null":
        payload = b"{}"
    if payload[:1] != b"{":
        raise Malformed("payload: expected an object")
    return Requested(request.path, request.method, payload)


def mismatch(payload: bytes, signature: Mapping[str, object]) -> str | None:
    """Which argument is not of the type that its example declares, and what it should be; None where all are."""
    members = _members.decode(payload)
    for name, example in signature.items():
        if name in members and not _fits(bytes(members[name]), example):
            return f"{name}: expected {_in_words(example)}"
    return None


def _fits(raw: bytes, example: object) -> bool:
    first = raw[:1]
    match example:
        case bool():
            return raw in (b"true", b"false")
        case str():
            return first == b'"'
        case int():
            low, high = _INTEGERS.get(example, _INT32)
            digits = raw.removeprefix(b"-")
            return digits.isdigit() and len(digits) <= 20 and low <= int(raw) <= high
        case float():
            return first in b"-0123456789"
        case dict():
            return first == b"{"
        case list():
            return first == b"["
    return True


def _in_words(example: object) -> str:
    match example:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return f"an integer of {example if example in _INTEGERS else 32} bits"
        case float():
            return "a number"
        case dict():
            return "an object"
    return "an array"
