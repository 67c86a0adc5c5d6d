"""Credentials in every form that clients send."""

import pytest

from appliance.rpc.login_form import Missing, decode
from appliance.rpc.models import LoginRequest

FORM = "application/x-www-form-urlencoded"
BOTH = LoginRequest("ann", "p w,&=ü")
PART = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"username":"ann","password":"p w,&=ü","more":1}'),
        ("application/json; charset=utf-8", '{"username":"ann","password":"p w,\\u0026=\\u00fc"}'),
        ("", '{"username":"ann","password":"p w,&=ü"}'),
        (FORM, '{"username":"ann","password":"p w,&=ü"}'),
        (FORM, "username=ann&password=p+w%2C%26%3D%C3%BC"),
        (f"{FORM}; charset=utf-8", "password=p%20w,%26=%C3%BC&username=bob&username=ann"),
        (
            "multipart/form-data; boundary=b",
            PART.format("username", "ann") + PART.format("password", "p w,&=ü") + "--b--\r\n",
        ),
    ],
)
def test_they_are_found(content_type: str, body: str) -> None:
    assert decode(content_type, body.encode()) == BOTH


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"null"),
        ("application/json", b'{"username":"","password":"x"}'),
        ("application/json", b'{"username":"x","password":null}'),
        ("application/json", b'{"username":"x","password":"%b"}' % (b"y" * 5000)),
        ("application/json", b"[" * 30_000),
        ("application/json", b'{"username":"\xff","password":"x"}'),
        ("text/plain", b"username=ann&password=x"),
        (FORM, b"username=ann"),
        (FORM, b"username=%00&password=x"),
        (FORM, b"username=%ff&password=x"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b"--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n"),
        ("multipart/form-data; boundary=b", PART.format("username", "ann").encode() + b"--b--"),
        ("multipart/form-data; boundary=\xfc", b"x"),
    ],
)
def test_they_are_missing(content_type: str, body: bytes) -> None:
    with pytest.raises(Missing):
        decode(content_type, body)
