import pytest

from appliance.host.kubernetes.server_url import ServerUrl, parse


@pytest.mark.parametrize(
    ("text", "url", "base"),
    [
        ("https://api.example:6443", ServerUrl("api.example", 6443, "", True), "https://api.example:6443"),
        ("https://api.example./", ServerUrl("api.example", 443, "", True), "https://api.example:443"),
        ("10.0.0.1:6443", ServerUrl("10.0.0.1", 6443, "", True), "https://10.0.0.1:6443"),
        ("https://[fd00::1]:1/a/b/", ServerUrl("fd00::1", 1, "/a/b", True), "https://[fd00::1]:1/a/b"),
        ("http://127.0.0.1:8001", ServerUrl("127.0.0.1", 8001, "", False), "http://127.0.0.1:8001"),
        ("http://localhost", ServerUrl("localhost", 80, "", False), "http://localhost:80"),
        ("https://my_api/k8s/clusters/c-1", ServerUrl("my_api", 443, "/k8s/clusters/c-1", True), None),
    ],
)
def test_servers(text: str, url: ServerUrl, base: str | None) -> None:
    assert parse(text) == url
    assert url.base == (base or "https://my_api:443/k8s/clusters/c-1")


@pytest.mark.parametrize(
    "text",
    [
        "", "https://", "https://:6443", "ftp://a", "https://a:0", "https://a:99999", "https://a:b", "https://[::1",
        "https://user:secret@a", "https://a?b", "https://a#b", "https://a b", "https://a/b\r\nX: y", "https://a..b",
        "https://-a", "http://10.0.0.1", "http://example.org", "unix:///run/x", f"https://{'a' * 64}", "https://ä",
        "https://a//b", "https://a/%zz/\x00",
    ],
)  # fmt: skip
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        parse(text)
    assert "secret" not in str(caught.value)
