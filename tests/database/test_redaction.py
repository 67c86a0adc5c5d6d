import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.database.redaction import (
    DEPTH_LIMIT,
    ITEM_LIMIT,
    SECRET_NAMES,
    TEXT_LIMIT,
    Redactor,
    clip,
)
from appliance.secret import MASK, Secret

redactor = Redactor()
HIDDEN = "hidden-7f3a"


@pytest.mark.parametrize(
    "name",
    [
        *SECRET_NAMES, "Password", "iscsi_password", "new-password", "X-Token", "apiKey", "APIKey",
        "ssh_keys", "sshkey", "tokens", "token_id", "passwordAgain", "passwordagain", "wifi.psk",
        "Authorization",
        "proxy_authorization", "password2", "PASS_HASH", "hashes", "client secret", "KEY",
    ],
)  # fmt: skip
def test_names_that_mean_a_secret(name: str) -> None:
    assert redactor.redact({"a": [{name: HIDDEN}]}) == {"a": [{name: MASK}]}


@pytest.mark.parametrize("name", ["name", "keyboard", "user", "hashed_by", "address", "status", "", "passive"])
def test_names_that_do_not(name: str) -> None:
    assert redactor.redact({name: "shown"}) == {name: "shown"}


def test_names_can_be_set() -> None:
    own = Redactor({"PIN", "cardnumber"})
    assert own.redact({"pin": 1, "pins": [1], "card_number": "4", "token": "t", "spinning": 1}) == {
        "pin": MASK,
        "pins": MASK,
        "card_number": MASK,
        "token": "t",
        "spinning": 1,
    }


def test_everything_below_a_secret_name_goes_and_absence_shows() -> None:
    assert redactor.redact({"token": {"a": ["b"]}, "key": None}) == {"token": MASK, "key": None}


def test_secret_by_type_wherever_it_is() -> None:
    value = {"plain": Secret(HIDDEN), "list": [Secret(HIDDEN), (Secret(HIDDEN),)], Secret(HIDDEN): 1}
    assert redactor.redact(value) == {"plain": MASK, "list": [MASK, [MASK]], MASK: 1}


class Kind(Enum):
    ONE = "one"


class Request(msgspec.Struct):
    host: str
    password: str
    inner: Any = None


@dataclass
class Opaque:
    password: str = HIDDEN


def test_types() -> None:
    value = {
        "struct": Request("a", HIDDEN, Request("b", HIDDEN)),
        "enum": Kind.ONE,
        "path": Path("/srv"),
        "time": datetime(2026, 1, 2, tzinfo=UTC),
        "bytes": HIDDEN.encode(),
        "set": {"b", "a"},
        "numbers": [1, -1.5, True, None, float("nan"), float("inf"), 1 << 64],
        "object": Opaque(),
        "function": len,
        1: "one",
        None: "none",
    }
    assert redactor.redact(value) == {
        "struct": {
            "host": "a",
            "password": MASK,
            "inner": {"host": "b", "password": MASK, "inner": None},
        },
        "enum": "one",
        "path": "/srv",
        "time": "2026-01-02T00:00:00+00:00",
        "bytes": "<11 bytes>",
        "set": ["a", "b"],
        "numbers": [1, -1.5, True, None, "nan", "inf", "0x10000000000000000"],
        "object": "<Opaque>",
        "function": "<builtin_function_or_method>",
        "1": "one",
        "None": "none",
    }


def test_bounds() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    depth = 0
    value = redactor.redact(endless)
    while isinstance(value, dict):
        value, depth = value["again"], depth + 1
    assert (value, depth) == ("<dict>", DEPTH_LIMIT)
    wide = redactor.redact(list(range(ITEM_LIMIT + 5)))
    assert len(wide) == ITEM_LIMIT + 1 and wide[-1] == "<5 more>"
    many = redactor.redact({str(number): number for number in range(ITEM_LIMIT + 5)})
    assert len(many) == ITEM_LIMIT + 1 and many["…"] == "<5 more>"
    assert len(redactor.redact("x" * 10_000)) == TEXT_LIMIT


def test_clip() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("a\udcffb") == "a\\udcffb"


plain_names = st.sampled_from(["name", "user", "list", "value", "x"])
secret_names = st.sampled_from(
    [shape(name) for name in SECRET_NAMES for shape in (str.lower, str.upper, str.title, "old_{}".format)]
)
hidden = st.one_of(st.just(HIDDEN), st.lists(st.just(HIDDEN)), st.fixed_dictionaries({"x": st.just(HIDDEN)}))
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(Secret(HIDDEN)), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(plain_names, st.text(), st.integers()), inner),
        st.builds(
            lambda tree, name, value: {**tree, name: value},
            st.dictionaries(plain_names, inner),
            secret_names,
            hidden,
        ),
        st.builds(Request, st.just("host"), st.just(HIDDEN), inner),
    ),
    max_leaves=30,
)


@given(trees)
def test_no_secret_survives_and_json_is_made(tree: Any) -> None:
    text = json.dumps(redactor.redact(tree), allow_nan=False)
    assert HIDDEN not in text
    assert json.loads(text) == redactor.redact(tree)


@given(trees)
def test_redacting_twice_changes_nothing(tree: Any) -> None:
    once = redactor.redact(tree)
    assert redactor.redact(once) == once
