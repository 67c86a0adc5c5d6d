import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from appliance.http.address import TrustedProxies, address_group, host_is_valid

PROXIES = TrustedProxies(lambda address: address.startswith("10."))


def host(*values: bytes) -> Headers:
    return Headers({b"Host": list(values)} if values else {})


@pytest.mark.parametrize(
    "value",
    [
        b"box",
        b"box.example",
        b"BOX.Example.",
        b"box:1",
        b"box:65535",
        b"192.0.2.1:8443",
        b"[::1]",
        b"[2001:db8::1]:8443",
        b"[fe80::1%25eth0]",
        b"a_b.example",
        b"1.example",
        b"xn--bcher-kva.example",
        b"x" * 63,
        b"a-b",
    ],
)
def test_good_hosts(value: bytes) -> None:
    assert host_is_valid(host(value), True) and host_is_valid(host(value), False)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b"..",
        b"a..b",
        b".a",
        b"x" * 64,
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:",
        b"a:123456",
        b"[::1",
        b"::1",
        b"[]",
        b"[gg::]",
        b"a b",
        b" a",
        b"a,b",
        b"-a",
        b"a-",
        b"\xff",
        b"a\x00",
        b"%61",
        b"x." * 130 + b"x",
        b"[::1]x",
        b"a:1:1",
    ],
)
def test_bad_hosts(value: bytes) -> None:
    assert not host_is_valid(host(value), True) and not host_is_valid(host(value), False)


def test_number_of_hosts() -> None:
    assert not host_is_valid(host(), True)
    assert host_is_valid(host(), False)
    assert not host_is_valid(host(b"a", b"a"), True)
    assert not host_is_valid(host(b"a", b"b"), False)


@given(st.binary(max_size=300))
def test_the_check_always_ends(value: bytes) -> None:
    host_is_valid(host(value), True)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7", " 203.0.113.9 , 10.0.0.2 "], "203.0.113.9"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:80"], "10.0.0.1"),
        ("10.0.0.1", ["\xff"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: list[str], client: str) -> None:
    headers = Headers({b"X-Forwarded-For": [value.encode("latin-1") for value in forwarded]} if forwarded else {})
    assert PROXIES.client(peer, headers) == client


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_groups(address: str, group: str) -> None:
    assert address_group(address) == group
