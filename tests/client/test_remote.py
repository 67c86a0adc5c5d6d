"""Which server a command is about, and the token in a file."""

from pathlib import Path

import pytest

from appliance.client.errors import ClientError
from appliance.client.login import read_token
from appliance.client.remote import remote


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://box", "box"),
        ("https://box/", "box"),
        ("https://box:443", "box"),
        ("https://box:8443", "box:8443"),
        ("https://192.0.2.7:8443", "192.0.2.7:8443"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_servers(url: str, authority: str) -> None:
    assert remote(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "box",
        "http://box",
        "wss://box",
        "https://",
        "https://user:secret@box",
        "https://box/path",
        "https://box?token=x",
        "https://box#x",
        "https://box:port",
        "https://box:99999",
        "https://[::1",
    ],
)
def test_what_names_no_server(url: str) -> None:
    with pytest.raises(ClientError):
        remote(url)


@pytest.mark.parametrize(
    "content", [b"", b"nothing of the kind", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(ClientError, match=r"ca\.pem"):
        remote("https://box", path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="cannot be read"):
        remote("https://box", tmp_path / "missing.pem")
    with pytest.raises(ClientError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_a_token_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"apl_abc\n")
    assert read_token(path).reveal() == "apl_abc"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"\xff", b"a\0b", b"x" * 20_000])
def test_what_is_no_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ClientError):
        read_token(path)
