"""YAML as Kubernetes takes it, read event by event, so that each limit holds before memory is spent.

What a text means is what it means to kubectl, which follows YAML 1.1 as its parser in Go does: `on` and `yes` are
true, `010` is 8, but `1:30` is a text, as is a date. Anchors, aliases, tags and merge keys are refused: no manifest
needs them, and a few lines of them can stand for gigabytes.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from appliance.host.errors import Invalid

DEPTH_LIMIT = 64
NODE_LIMIT = 200_000

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_INTEGER = re.compile(r"[-+]?(?:0b[01]+|0o[0-7]+|0[0-7]*|0x[0-9a-fA-F]+|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INTEGER_BITS = 64
_BASES = {"0b": 2, "0o": 8, "0x": 16}
_WITHOUT_EXPONENT = 1e21


def read_yaml(text: str, limit: int) -> Iterator[tuple[int, Any]]:
    """The documents of `text` that are not empty, with the lines they begin at. Blocking.

    Raises `Invalid`, also for more than `limit` documents.
    """
    import yaml  # here: it takes memory that a server without a cluster does not need

    parser = yaml.CSafeLoader(text)
    try:
        yield from _Reader(yaml, parser, limit).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refused(mark.line if mark is not None else 0, error.problem or "not YAML") from None
    except yaml.YAMLError as error:
        raise Invalid("body", f"not YAML ({' '.join(str(error).split())})") from None
    finally:
        parser.dispose()


class _Reader:
    def __init__(self, yaml: Any, parser: Any, limit: int) -> None:
        self._yaml = yaml
        self._next = parser.get_event
        self._limit = limit
        self._nodes = 0

    def documents(self) -> Iterator[tuple[int, Any]]:
        yaml, count = self._yaml, 0
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                first = self._next()
                value = self._value(first, 0)
                if value is not None:
                    count += 1
                    if count > self._limit:
                        raise Invalid("body", f"more than {self._limit} documents")
                    yield first.start_mark.line + 1, value

    def _value(self, event: Any, depth: int) -> Any:
        yaml = self._yaml
        line = event.start_mark.line
        self._nodes += 1
        if self._nodes > NODE_LIMIT:
            raise _refused(line, f"more than {NODE_LIMIT} values")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refused(line, "anchors and aliases are not taken")
        if event.tag is not None:
            raise _refused(line, "tags are not taken")
        if isinstance(event, yaml.ScalarEvent):
            return plain(event.value, line) if event.implicit[0] else event.value
        if depth == DEPTH_LIMIT:
            raise _refused(line, f"nested deeper than {DEPTH_LIMIT} times")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(depth + 1)
        return self._mapping(depth + 1)

    def _sequence(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := self._next(), self._yaml.SequenceEndEvent):
            found.append(self._value(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), self._yaml.MappingEndEvent):
            line = event.start_mark.line
            name = _key(self._value(event, depth), line)
            if name == "<<" and event.implicit[0]:
                raise _refused(line, "merge keys are not taken")
            if name in found:
                raise _refused(line, f"{name[:100]!r} stands here twice")
            found[name] = self._value(self._next(), depth)
        return found


def plain(text: str, line: int = 0) -> Any:
    """What a plain scalar (one without quotes) means. Raises `Invalid` for what JSON cannot say."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return _integer(digits, line)
    if _FLOAT.fullmatch(digits):
        return _float(digits, line)
    if _NO_NUMBER.fullmatch(text):
        raise _refused(line, f"{text} is no number that JSON has")
    return text


def _integer(text: str, line: int) -> int | float | str:
    digits = text.lstrip("+-")
    base = _BASES.get(digits[:2], 8 if digits[0] == "0" else 10)
    if base == 10 and len(digits) > _INTEGER_BITS:  # beyond 64 bits, and int() takes long over very many
        return _float(text, line)
    found = int(text, base if digits[:2] not in _BASES else 0)
    if found.bit_length() <= _INTEGER_BITS:
        return found
    return _float(text, line) if base in (8, 10) else text


def _float(text: str, line: int) -> int | float:
    """A number, without a point where it has no fraction: so it is written by Go's JSON encoder, and by no other
    way could `1e3` be a number of replicas."""
    found = float(text)
    if math.isinf(found):
        raise _refused(line, "a number beyond all bounds")
    return int(found) if found.is_integer() and abs(found) < _WITHOUT_EXPONENT else found


def _key(value: Any, line: int) -> str:
    """A member's name; what is no text in YAML becomes what kubectl makes of it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise _refused(line, "a name must be a text")


def _refused(line: int, why: str) -> Invalid:
    return Invalid("body", f"line {line + 1}: {why}")
