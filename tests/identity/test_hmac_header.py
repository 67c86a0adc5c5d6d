import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.identity.hmac_header import ALLOWED_SKEW, SignedHeader, parse

DIGEST, SIGNATURE, NONCE = "0" * 64, "f" * 64, "abcDEF012_-xyz99"


def value(**changed: str) -> str:
    fields = {"timestamp": "1763887740", "nonce": NONCE, "digest": DIGEST, "signature": SIGNATURE} | changed
    return "HMAC-SHA256 " + ", ".join(f"{name}={text}" for name, text in fields.items())


def test_a_good_one() -> None:
    assert parse(value()) == SignedHeader(1763887740, NONCE, DIGEST, SIGNATURE)
    assert parse(value().replace(", ", ",")) == parse(value())
    assert parse(value().replace("256 ", "256   ") + "  ") == parse(value())


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "HMAC-SHA256",
        "HMAC-SHA256 ",
        "Bearer x",
        value().replace("SHA256", "SHA1"),
        value().lower(),
        " " + value(),
        value(timestamp=""),
        value(timestamp="-1"),
        value(timestamp="1.5"),
        value(timestamp="1" * 13),
        value(timestamp="１"),
        value(nonce=""),
        value(nonce="x" * 15),
        value(nonce="x" * 65),
        value(nonce="x" * 15 + "é"),
        value(nonce="x" * 15 + ","),
        value(digest=""),
        value(digest="0" * 63),
        value(digest="0" * 65),
        value(digest="A" * 64),
        value(digest="g" * 64),
        value(signature=""),
        value(signature="f" * 63),
        value(signature="F" * 64),
        value(extra="1"),
        value() + ", nonce=" + NONCE,
        value().replace("nonce=", "Nonce="),
        value().replace(", digest", "; digest"),
        value() + "\n",
        value() + "\0",
        "x" + value(),
    ],
)
def test_bad_ones(bad: str) -> None:
    assert parse(bad) is None


@given(st.text(max_size=300) | st.text(max_size=50).map(lambda text: value(nonce=text)))
def test_any_text_is_parsed_or_not(text: str) -> None:
    found = parse(text)
    assert found is None or len(found.signature) == 64


def test_what_is_signed() -> None:
    header = SignedHeader(17, NONCE, DIGEST, SIGNATURE)
    assert (
        header.message("GET", b"/a%20b", b"x=1&y=%ff")
        == f"HMAC-SHA256\nGET\n/a%20b\nx=1&y=%ff\n17\n{NONCE}\n{DIGEST}".encode()
    )
    assert header.message("GET", b"/a", b"") == f"HMAC-SHA256\nGET\n/a\n\n17\n{NONCE}\n{DIGEST}".encode()
    assert header.message("GET", b"/\xa0", b"") == b"HMAC-SHA256\nGET\n/\xa0\n\n17\n" + f"{NONCE}\n{DIGEST}".encode()


def test_no_two_requests_sign_the_same() -> None:
    """Method, path and query cannot hold a line feed, so none of them can pass for a part of another."""
    header = SignedHeader(17, NONCE, DIGEST, SIGNATURE)
    messages = {
        header.message(*parts)
        for parts in [("GET", b"/a", b"b"), ("GET", b"/a?b", b""), ("GET/a", b"", b"b"), ("GE", b"T/a", b"b")]
    }
    assert len(messages) == 4


@pytest.mark.parametrize(
    ("off", "timely"),
    [(0, True), (ALLOWED_SKEW, True), (-ALLOWED_SKEW, True), (ALLOWED_SKEW + 1, False), (-ALLOWED_SKEW - 1, False)],
)
def test_the_time(off: int, timely: bool) -> None:
    assert SignedHeader(1000 + off, NONCE, DIGEST, SIGNATURE).is_timely(1000.0) is timely
