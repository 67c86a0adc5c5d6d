"""The one range of a file."""

import pytest
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.errors import HttpError
from appliance.http.ranges import requested_range


def call(asked: str | None, method: str = "GET", **more: str) -> Call:
    headers = Headers({name.replace("_", "-"): [value] for name, value in more.items()})
    if asked is not None:
        headers.setRawHeaders("Range", [asked])
    return Call("1", method, b"/", "/", b"", headers)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 5)),
        ("bytes=9-100", (9, 1)),
        ("bytes=-3", (7, 3)),
        ("bytes=-100", (0, 10)),
        ("bytes= 1-2 ", (1, 2)),
        ("bytes=-", None),
        ("bytes=3-2", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=99999999999999999999-", None),
    ],
)
def test_what_is_asked_for(asked: str | None, found: tuple[int, int] | None) -> None:
    assert requested_range(call(asked), 10) == found


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=11-20", "bytes=-0"])
def test_what_the_file_has_not(asked: str) -> None:
    with pytest.raises(HttpError) as caught:
        requested_range(call(asked), 10)
    assert (caught.value.status, caught.value.headers) == (416, {"Content-Range": "bytes */10"})


def test_of_an_empty_file_there_is_no_part() -> None:
    with pytest.raises(HttpError):
        requested_range(call("bytes=0-"), 0)


def test_only_plain_gets_have_parts() -> None:
    assert requested_range(call("bytes=0-1", "HEAD"), 10) is None
    assert requested_range(call("bytes=0-1", If_Range='"x"'), 10) is None
