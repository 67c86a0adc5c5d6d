"""Who gets gzip."""

import gzip

import pytest
from twisted.web.http_headers import Headers

from appliance.http.call import Call
from appliance.http.compression import accepts_gzip, compressed


@pytest.mark.parametrize(
    ("values", "accepts"),
    [
        ([], False),
        ([b""], False),
        ([b"gzip"], True),
        ([b"GZIP"], True),
        ([b"deflate, gzip, br"], True),
        ([b"deflate", b"gzip"], True),
        ([b"gzip;q=0.5"], True),
        ([b"gzip ; q = 1.000"], True),
        ([b"gzip;q=0"], False),
        ([b"gzip;q=0.000"], False),
        ([b"*"], True),
        ([b"*;q=0"], False),
        ([b"*;q=0, gzip"], True),
        ([b"*, gzip;q=0"], False),
        ([b"identity"], False),
        ([b"xgzip"], False),
        ([b"gzip;q=x"], False),
        ([b"gzip;q=1.2.3"], False),
    ],
)
def test_who_takes_it(values: list[bytes], accepts: bool) -> None:
    headers = Headers({b"Accept-Encoding": values} if values else {})
    assert accepts_gzip(Call("1", "GET", b"/", "/", b"", headers)) is accepts


def test_what_comes_out_is_gzip_and_always_the_same() -> None:
    body = b"some text " * 1000
    assert gzip.decompress(compressed(body)) == body
    assert compressed(body) == compressed(body)
    assert len(compressed(body)) < len(body) // 10
