"""Requests and answers of route netlink, the kernel's own where there is no need to change anything."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.network import links, netlink
from appliance.host.network.netlink import KernelRefusal, Netlink, Request, attribute, attributes, number_in


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=300), max_size=20))
def test_attributes_come_back_as_they_were(given: dict[int, bytes]) -> None:
    assert attributes(b"".join(attribute(kind, value) for kind, value in given.items())) == given


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_apart(data: bytes) -> None:
    assert all(0 <= kind <= 0x3FFF for kind in attributes(data))


def test_what_is_nested_is_marked_so() -> None:
    found = netlink.nested(18, netlink.text(1, "vlan"), netlink.number(2, 5))
    assert struct.unpack("=HH", found[:4]) == (len(found), 18 | 0x8000)
    inner = attributes(attributes(found)[18])
    assert inner[1] == b"vlan\0"
    assert number_in(inner[2]) == 5


def test_numbers_of_any_length() -> None:
    assert number_in(struct.pack("=B", 7)) == 7
    assert number_in(struct.pack("=H", 770)) == 770
    assert number_in(struct.pack("=Q", 1 << 40)) == 1 << 40
    assert number_in(None) == 0
    assert number_in(None, 9) == 9


def test_the_kernel_answers() -> None:
    with Netlink() as net:
        assert "lo" in [link.name for link in links.read(net)]
        assert links.read_one(net, "lo").hardware == links.LOOPBACK


def test_the_kernel_refuses_in_words() -> None:
    with Netlink() as net:
        for _ in range(2):  # the socket goes on after a refusal
            with pytest.raises(KernelRefusal) as caught:
                net.change(links.set_up(2**31 - 1, up=True))
            assert caught.value.number == errno.ENODEV
        with pytest.raises(KernelRefusal) as caught:
            links.read_one(net, "nosuchlink")
        assert caught.value.number == errno.ENODEV
        assert links.read_one(net, "lo").name == "lo"


def test_requests_together_have_answers_of_their_own() -> None:
    with Netlink() as net:
        missing = links.set_up(2**31 - 1, up=True)
        harmless = Request(netlink.GET_LINK, bytes(16) + netlink.text(links.NAME, "lo"))
        first, second, third = net.change_together([missing, harmless, missing])
        assert first is not None and first.number == errno.ENODEV
        assert second is None
        assert third is not None and third.number == errno.ENODEV
        assert links.read_one(net, "lo").name == "lo"


def test_what_is_as_wanted_is_no_failure() -> None:
    with Netlink() as net:
        gone = links.delete(2**31 - 1)
        assert netlink.ensure(net, [gone, gone]) == []
        nonsense = Request(netlink.NEW_ADDRESS, bytes(8))
        (failure,) = netlink.ensure(net, [gone, nonsense])
        assert failure


def test_others_cannot_speak_for_the_kernel() -> None:
    # Only root may send to a socket of route netlink; what it sends is still not the kernel's answer.
    net = Netlink()
    with net, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as other:
        net._socket.bind((0, 0))
        port = net._socket.getsockname()[0]
        forged = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -errno.EPERM)
        try:
            other.sendto(forged, (port, 0))
        except OSError:
            pytest.fail("the forged message could not be sent, so nothing was tried")
        assert links.read_one(net, "lo").name == "lo"
