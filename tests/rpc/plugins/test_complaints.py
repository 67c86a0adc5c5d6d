import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from appliance.database.redaction import Redactor
from appliance.rpc.plugins.complaints import TEXT_LIMIT, without_secrets
from tests.support.plugins import PluginsTestCase
from tests.support.processes import eventually

REDACTOR = Redactor()


def cleaned(complaint: str, payload: object = None, *, cut: bool = False) -> str:
    return without_secrets(complaint.encode(), json.dumps(payload).encode(), REDACTOR, cut=cut)


def test_what_is_no_secret_stays() -> None:
    text = 'Traceback (most recent call last):\n  File "/x", line 3: KeyError: message=5 url=http://a/b'
    assert cleaned(text, {"message": "KeyError"}) == text


@pytest.mark.parametrize(
    "text",
    [
        "password=S3cret",
        "password = S3cret",
        "psk: S3cret",
        '{"passphrase": "S3cret", "a": 1}',
        "{'api_key': 'S3cret'}",
        "token='S3c ret",
        'secret="S3cr\\"et"',
        "newPassword=S3cret&x=1",
    ],
)
def test_fields_that_mean_secrets(text: str) -> None:
    seen = cleaned(text)
    assert "S3c" not in seen and "***" in seen


def test_values_of_the_payload_wherever_they_stand() -> None:
    payload = {
        "user": "ann",
        "deep": [{"psk": 'gr\u00fc\u00dfe "x"\n'}],
        "pin_secret": 77,
        "keys": ["k-one", {"a": "k-two"}],
    }
    shown = [
        'gr\u00fc\u00dfe "x"\n',
        json.dumps('gr\u00fc\u00dfe "x"\n'),
        repr('gr\u00fc\u00dfe "x"\n'),
        "77",
        "k-one",
        "k-two",
    ]
    seen = cleaned("ann: " + " | ".join(shown) + " 1771", payload)
    assert seen == "ann: *** | \"***\" | '***' | *** | *** | *** 1771"


def test_the_longer_secret_first() -> None:
    assert cleaned("abcd abcdefgh", {"a_secret": "abcd", "b_secret": "abcdefgh"}) == "*** ***"


def test_the_rest_of_a_secret_whose_beginning_was_cut_off() -> None:
    assert cleaned("ret and more", {"psk": "S3cret"}, cut=True) == "d more"
    assert cleaned("ret and more", {"psk": "S3cret"}) == "ret and more"


def test_length() -> None:
    assert len(cleaned("x" * 10_000)) == TEXT_LIMIT
    assert cleaned("x" * 10_000 + "end").endswith("end")


def test_a_payload_that_is_none() -> None:
    assert without_secrets(b"a \xff b", b"{", REDACTOR) == "a \ufffd b"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="*…\ufffd"), min_size=4, max_size=20),
    st.text(max_size=50),
    st.text(max_size=50),
)
def test_no_secret_of_the_payload_gets_through(secret: str, before: str, after: str) -> None:
    assert secret not in cleaned(f"{before}{secret}{after}", {"password": secret})


def test_hostile_text_takes_no_longer() -> None:
    for text in ('a="' * 3000, "a" * 9000, 'password="' + '\\"' * 4000, "k: " * 3000, '{"a":' * 2000):
        cleaned(text, {"psk": "S3cret"})


class LogTests(PluginsTestCase):
    async def test_what_goes_to_the_log(self) -> None:
        seen: list[LogEvent] = []
        observer = cast(ILogObserver, seen.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.run_shell("cat >&2; echo ' said'>&2", {"psk": "S3cret-1", "mode": "fast"})
        await eventually(lambda: any("text" in event for event in seen), "the log")
        texts = [event["text"] for event in seen if "text" in event]
        self.assertEqual(texts, ['{"psk": ***, "mode": "fast"} said'])
        self.assertNotIn("S3cret", repr(seen))
