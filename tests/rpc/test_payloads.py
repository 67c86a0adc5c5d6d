"""Bodies of calls, and the types that signatures declare."""

import pytest

from appliance.rpc.payloads import Malformed, decode, mismatch

BEGIN = b'{"path":"ns.x","method":"m","payload":'


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"path":"ns.x","method":"m"}', b"{}"),
        (BEGIN + b"null}", b"{}"),
        (BEGIN + b"{}}", b"{}"),
        (BEGIN + b' {"a" : 1e5} }', b'{"a" : 1e5}'),
        (
            b'{"more":[],"payload":{"a":12345678901234567890123},"method":"m","path":"ns.x"}',
            b'{"a":12345678901234567890123}',
        ),
    ],
)
def test_the_payload_stays_as_it_is(body: bytes, payload: bytes) -> None:
    assert decode(body) == ("ns.x", "m", payload)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "malformed JSON"),
        (b"null", "expected `object`"),
        (BEGIN + b"[]}", "payload: expected an object"),
        (BEGIN + b"false}", "payload: expected an object"),
        (BEGIN + b'{"a":01}}', "malformed JSON"),
        (BEGIN + b'{"a":"\xc3"}}', "not UTF-8 at byte"),
        (b'{"path":"%b","method":"m"}' % (b"x" * 300), "path"),
    ],
)
def test_what_is_malformed(body: bytes, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(body)
    assert why.lower() in str(caught.value).lower()


SIGNATURE = {"text": "x", "small": 8, "medium": 16, "number": 32, "large": 64, "flag": True, "table": {}, "list": []}


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (b"{}", None),
        (b'{"other":5}', None),
        (b'{"text":"","small":-128,"medium":65535,"number":-5,"large":18446744073709551615,"flag":false}', None),
        (b'{"table":{"a":1},"list":[1]}', None),
        (b'{"text":5}', "text: expected a string"),
        (b'{"text":null}', "text: expected a string"),
        (b'{"small":256}', "small: expected an integer of 8 bits"),
        (b'{"medium":65536}', "medium: expected an integer of 16 bits"),
        (b'{"number":4294967296}', "number: expected an integer of 32 bits"),
        (b'{"number":1.0}', "number: expected an integer of 32 bits"),
        (b'{"number":"1"}', "number: expected an integer of 32 bits"),
        (b'{"large":18446744073709551616}', "large: expected an integer of 64 bits"),
        (b'{"large":1' + b"0" * 5000 + b"}", "large: expected an integer of 64 bits"),
        (b'{"flag":1}', "flag: expected true or false"),
        (b'{"table":[]}', "table: expected an object"),
        (b'{"list":{}}', "list: expected an array"),
    ],
)
def test_declared_types(payload: bytes, wrong: str | None) -> None:
    assert mismatch(payload, SIGNATURE) == wrong
