import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http.errors import HttpError, MethodNotAllowed, bad_request, insufficient_storage, reason, too_large
from appliance.http.headers import SECURITY_HEADERS, date_line, header_line, header_lines, status_line
from tests.support.wire import REQUIRED_HEADERS


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("x", b"Name: x\r\n"),
        ("a\r\nSet-Cookie: b", b"Name: a  Set-Cookie: b\r\n"),
        ("a\0b\x7fc\td", b"Name: a b c d\r\n"),
        ("grün ☃", b"Name: gr?n ?\r\n"),
        ("\u2028\x85\ud800", b"Name: ???\r\n"),
    ],
)
def test_no_value_breaks_out_of_its_line(value: str, line: bytes) -> None:
    assert header_line("Name", value) == line


@given(st.text(max_size=100))
def test_any_value_is_one_line(value: str) -> None:
    line = header_line("Name", value)
    assert re.fullmatch(rb"Name: [\x20-\x7e]*\r\n", line)
    assert len(line) == len("Name: \r\n") + len(value)


def test_several() -> None:
    assert header_lines({"A": "1", "B": "2"}.items()) == b"A: 1\r\nB: 2\r\n"


@pytest.mark.parametrize("status", [200, 202, 400, 403, 404, 408, 413, 414, 431, 500, 507])
def test_status_lines(status: int) -> None:
    assert status_line(status) == f"HTTP/1.1 {status} {reason(status)}\r\n".encode()
    assert status_line(status) is status_line(status)


def test_a_status_nobody_knows() -> None:
    assert status_line(299) == b"HTTP/1.1 299 Unknown\r\n"


def test_the_date() -> None:
    assert date_line(784111777) == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_security_headers() -> None:
    found = dict(line.split(": ") for line in SECURITY_HEADERS.decode().splitlines())
    assert {name.lower(): value for name, value in found.items()} == REQUIRED_HEADERS


def test_errors_carry_their_answer() -> None:
    assert (bad_request("x").status, bad_request("x").message, str(bad_request("x"))) == (400, "x", "x")
    assert str(HttpError(404)) == "Not Found"
    assert too_large(5).message == "Request body too large. Allowed: <= 5 bytes"
    assert insufficient_storage().status == 507
    assert MethodNotAllowed("PUT", frozenset({"POST", "GET"})).headers == {"Allow": "GET, POST"}
