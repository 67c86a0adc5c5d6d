"""Notices of real changes, in a network namespace of their own."""

import subprocess
import sys

_BEGIN = """
from appliance.host.network import links, addresses
from appliance.host.network.netlink import Netlink
from appliance.host.network.notices import Notices
from ipaddress import ip_interface

notices = Notices()
with Netlink() as net:
    lo = links.read_one(net, "lo").index
"""


def run(script: str) -> None:
    indented = "".join(f"    {line}\n" for line in script.strip().splitlines())
    argv = ["unshare", "--net", "--", sys.executable, "-c", _BEGIN + indented]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr


def test_each_kind_of_change_is_noticed_once() -> None:
    run("""
assert not notices.look()
net.change(links.set_up(lo, up=True))
assert notices.look()
assert not notices.look()
for text in ("10.0.0.1/24", "fd00::1/64"):
    net.change(addresses.add(lo, ip_interface(text)))
    assert notices.look(), text
    assert not notices.look()
    net.change(addresses.remove(lo, ip_interface(text)))
    assert notices.look(), text
    assert not notices.look()
links.read(net)
assert not notices.look()
notices.close()
""")


def test_more_than_the_socket_holds_is_noticed_and_then_listening_goes_on() -> None:
    run("""
net.change(links.set_up(lo, up=True))
for round in range(3):
    for _ in range(2000):
        net.change(addresses.add(lo, ip_interface("10.0.0.1/24")))
        net.change(addresses.remove(lo, ip_interface("10.0.0.1/24")))
    assert notices.look()
    assert not notices.look()
    net.change(addresses.add(lo, ip_interface("10.0.0.1/24")))
    assert notices.look()
    net.change(addresses.remove(lo, ip_interface("10.0.0.1/24")))
    assert notices.look()
    assert not notices.look()
""")
