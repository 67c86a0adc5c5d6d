"""What an outcome becomes, and what is one JSON document."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.results import FAILED, SUCCESS, Result, judge, one_document, signal_in_words


def printed(output: bytes) -> Result:
    return judge(Outcome("exited", output=output))


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (Outcome("no_object"), "exit status 4"),
        (Outcome("no_method"), "exit status 3"),
        (Outcome("exited", exit_code=1), "exit status 1"),
        (Outcome("exited", exit_code=127, output=b"{}"), "exit status 127"),
        (Outcome("signalled", signal=9), "signal: killed"),
        (Outcome("signalled", signal=11), "signal: segmentation fault"),
        (Outcome("timeout"), "timeout"),
        (Outcome("too_large"), "output too large"),
        (Outcome("exited", output=b""), "invalid output"),
    ],
)
def test_failures(outcome: Outcome, data: str) -> None:
    result = judge(outcome)
    assert (result.status, result.message, json.loads(result.data)) == (500, FAILED, data)
    assert result.in_words == f"failed: {data}"
    assert json.loads(result.body()) == {"code": 500, "data": data, "message": FAILED}


def test_when_plugins_cannot_be_run() -> None:
    assert judge(Outcome("unavailable")).status == 503


@pytest.mark.parametrize(
    ("output", "status", "message"),
    [
        (b'{"error":"x"}', 500, "x"),
        (b'{"error":""}', 500, ""),
        (b'{"error":"x","validation":1}', 500, "x"),
        (b'{"error":null}', 200, SUCCESS),
        (b'{"error":["x"]}', 200, SUCCESS),
        (b'{"validation":null}', 400, "validation_failed"),
        (b'{"a":{"error":"x"},"b":"validation"}', 200, SUCCESS),
        (b'["error"]', 200, SUCCESS),
        (b'"error"', 200, SUCCESS),
        (b'{"error":1,"error":"last"}', 500, "last"),
        (b'{"\\u0065rror":"escaped"}', 500, "escaped"),
        (b'{"error":"\\udcff"}', 500, "?"),
        (b'{"\\udcff":1,"error":"beside"}', 500, "beside"),
    ],
)
def test_what_the_plugin_says_of_itself(output: bytes, status: int, message: str) -> None:
    result = printed(output)
    assert (result.status, result.message, result.data) == (status, message, output)
    assert json.loads(result.body())["message"] == message


@pytest.mark.parametrize(
    "raw",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"01",
        b"1.",
        b"+1",
        b"'a'",
        b"{'a':1}",
        b"[1,]",
        b"{}{}",
        b"1 2",
        b"tru",
        b'"\n"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b'"\\ud800"x',
        b'["\\udcff",NaN]',
        b"//x\n1",
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_no_document(raw: bytes) -> None:
    assert one_document(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"1e400",
        b"-0",
        b"123456789012345678901234567890",
        b'"\\u0000"',
        b'"\\ud83d\\ude00"',
        b'{"a":"\\udcff"}',
        b'"\\ud800"',
    ],
)
def test_what_is_one(raw: bytes) -> None:
    assert one_document(b" \n" + raw + b"\r\n\t") == raw


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_every_json_value_passes_as_it_was_written(value: object, ascii: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    assert one_document(raw) == raw


@given(st.binary(max_size=40))
def test_what_passes_is_json(raw: bytes) -> None:
    found = one_document(raw)
    if found is not None:
        json.loads(found)


def test_signals_have_names() -> None:
    assert signal_in_words(15) == "terminated"
    assert signal_in_words(34) == "SIGRTMIN"
    assert signal_in_words(99) == "signal 99"
