"""Which names interfaces can have."""

import pytest

from appliance.host.errors import Invalid
from appliance.host.network.names import check, check_new


@pytest.mark.parametrize("name", ["eth0", "lo", "v0.5", "br-lan", "wg0@x", "x" * 15, "--help", "ü", "a%d", "_"])
def test_what_the_kernel_takes(name: str) -> None:
    assert check(name, "name") == name


@pytest.mark.parametrize(
    "name", ["", "x" * 16, "ü" * 8, ".", "..", "a/b", "a:b", "a b", "a\tb", "a\n", "a\0b", "\x7f", "a\u2028b", "\ud800"]
)
def test_what_it_does_not(name: str) -> None:
    for rule in (check, check_new):
        with pytest.raises(Invalid, match=r"^field: "):
            rule(name, "field")


@pytest.mark.parametrize("name", ["br0", "v0.5", "br-lan", "A_b", "0", "x" * 15])
def test_what_is_new(name: str) -> None:
    assert check_new(name, "name") == name


@pytest.mark.parametrize("name", ["--help", "-a", ".a", "@a", "br%d", "a%", "ü", "all", "default", "a,b", "a;b"])
def test_what_is_not_made_although_the_kernel_would(name: str) -> None:
    assert check(name, "name") == name
    with pytest.raises(Invalid):
        check_new(name, "name")
