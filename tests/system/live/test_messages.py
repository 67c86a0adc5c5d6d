"""Whatever a client sends, it is a message or told to be none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.system.live.messages import Auth, BadMessage, Incoming, encode, error

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
types = st.sampled_from(["auth", "ping", "x"]) | json_values
messages = st.fixed_dictionaries({}, optional={"type": types, "payload": json_values, "id": json_values})


@given(st.binary() | messages.map(msgspec.json.encode))
def test_nothing_but_a_refusal_is_raised(raw: bytes) -> None:
    problem = None
    try:
        Incoming(raw).decode(Auth)
    except BadMessage as error:
        problem = error
    assert problem is None or (str(problem) and problem.code in ("INVALID_MESSAGE", "INVALID_INPUT"))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"type":"auth","token":"a"}', "a"),
        (b'{"type":"auth","payload":{"token":"b"}}', "b"),
        (b'{"type":"auth","payload":{"token":"b"},"token":"a"}', "b"),
        (b'{"type":"auth","payload":null,"token":"a"}', "a"),
        (b'{"type":"auth","payload":{},"token":"a"}', "a"),
        (b'{"type":"auth"}', ""),
    ],
)
def test_the_token_of_auth(raw: bytes, shown: str) -> None:
    assert Incoming(raw).decode(Auth).shown == shown


def test_an_error_says_it_twice_and_bears_the_id() -> None:
    assert msgspec.json.decode(encode(error("CODE", "text", 7))) == {
        "type": "error",
        "error": "text",
        "code": "CODE",
        "payload": {"message": "text", "code": "CODE"},
        "id": 7,
    }
    assert "id" not in msgspec.json.decode(encode(error("CODE", "text")))
