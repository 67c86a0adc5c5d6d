"""What a plugin wrote to standard error, made fit for the log: no secrets, bounded."""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from appliance.database.redaction import Redactor, clip
from appliance.secret import MASK

TEXT_LIMIT = 4096
_DEPTH = 64

# NAME=VALUE, NAME: VALUE, "NAME": "VALUE". Whatever it begins to match it does match: so it reads each byte once.
_FIELD = re.compile(
    r"""(?<![\w-])(?P<name>[A-Za-z][\w-]*+)(?P<between>["']?[ \t]*+[:=][ \t]*+)"""
    r"""(?:"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|[^\s,;&}\])]++)"""
)

_NO_FIELDS = ("Error", "Exception", "Warning")  # KeyError: 'name of a key'


def without_secrets(complaint: bytes, payload: bytes, redactor: Redactor, *, cut: bool = False) -> str:
    """
    The end of `complaint` as text, without the secrets in `payload` and without what looks like one.

    A secret of the payload is every text and number in a field whose name means a secret. It is masked wherever it
    stands, also as JSON or Python would write it; where the beginning was `cut` off, what could be the rest of one
    goes as well. Takes long for a large payload: call it in a thread.
    """
    text = complaint.decode("utf-8", "replace")
    spellings = sorted(set(_spellings(payload, redactor)), key=len, reverse=True)
    if cut and spellings:
        text = text[len(spellings[0]) :]
    for secret in spellings:
        # A short one would tear words apart, and could be guessed by that.
        pattern = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(pattern, lambda _: MASK, text)

    def masked(field: re.Match[str]) -> str:
        if field["name"].endswith(_NO_FIELDS) or not redactor.means_secret(field["name"]):
            return field[0]
        return f"{field['name']}{field['between']}{MASK}"

    text = _FIELD.sub(masked, text).strip()
    return clip(text if len(text) <= TEXT_LIMIT else "…" + text[-TEXT_LIMIT + 1 :])


def _spellings(payload: bytes, redactor: Redactor) -> Iterator[str]:
    try:
        content = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return
    for secret in _secrets(content, redactor, _DEPTH, hidden=False):
        yield secret
        for spell in (json.dumps, partial(json.dumps, ensure_ascii=False), repr, ascii):
            yield spell(secret)[1:-1]


def _secrets(value: Any, redactor: Redactor, depth: int, *, hidden: bool) -> Iterator[str]:
    if isinstance(value, dict) and depth:
        for name, inner in value.items():
            yield from _secrets(inner, redactor, depth - 1, hidden=hidden or redactor.means_secret(name))
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _secrets(inner, redactor, depth - 1, hidden=hidden)
    elif hidden and isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield str(value)
