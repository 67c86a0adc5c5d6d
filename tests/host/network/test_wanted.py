"""Addresses as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.errors import Invalid
from appliance.host.network.wanted import parse_found, parse_wanted


@pytest.mark.parametrize("length", range(1, 33))
def test_a_mask_is_a_length(length: int) -> None:
    mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    dotted = ".".join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))
    address = "10.77.77.77"
    if length in (1, 32):
        address = "129.0.0.1"
    assert parse_wanted(address, dotted) == parse_wanted(address, length) == parse_wanted(address, str(length))


@given(st.integers(0, 0xFFFFFFFF))
def test_a_mask_with_holes_is_none(number: int) -> None:
    dotted = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    bits = f"{number:032b}"
    if "01" in bits or number == 0:
        with pytest.raises(Invalid, match=r"^netmask: "):
            parse_wanted("129.77.77.77", dotted)
    else:
        assert parse_wanted("129.77.77.77", dotted).address.network.prefixlen == bits.count("1")


@given(st.text(max_size=20), st.one_of(st.integers(), st.text(max_size=20)), st.text(max_size=20))
def test_nonsense_is_refused_by_the_name_of_its_field(address: str, netmask: int | str, gateway: str) -> None:
    given = [(address, 24, ""), ("10.0.0.1", netmask, ""), ("fd00::1", netmask, ""), ("10.0.0.1", 24, gateway)]
    fields = [refused_field(*each) for each in given]
    assert set(fields) <= {None, "address", "netmask", "gateway"}
    assert fields[0] in (None, "address")
    assert fields[3] in (None, "gateway")


def refused_field(address: str, netmask: int | str, gateway: str) -> str | None:
    """The field that is to blame; None where all is well."""
    try:
        parse_wanted(address, netmask, gateway)
    except Invalid as error:
        return error.field
    return None


def test_a_gateway() -> None:
    assert str(parse_wanted("10.0.0.2", 24, "10.0.0.1").gateway) == "10.0.0.1"
    assert str(parse_wanted("fd00::2", 64, "fe80::1").gateway) == "fe80::1"
    assert parse_wanted("10.0.0.2", 24).gateway is None
    for refused in ("10.0.0.2", "fd00::1", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "fe80::1%eth0", "10.0.0.1/24"):
        with pytest.raises(Invalid, match=r"^gateway: "):
            parse_wanted("10.0.0.2", 24, refused)


def test_an_address_that_is_there() -> None:
    address, length = parse_found("10.0.0.1/24", "address")
    assert (str(address), length) == ("10.0.0.1", 24)
    assert parse_found("fd00::1", "address")[1] is None
    for refused in ("", "/", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/x", "x/24", "10.0.0.1/-1"):
        with pytest.raises(Invalid, match=r"^address: "):
            parse_found(refused, "address")
