"""Changes that undo themselves unless they are confirmed, whoever is killed meanwhile."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appliance.host.network.undo import CONFIRMED, WITHDRAWN, decide
from tests.support.machine import Machine, SystemServer, system_server
from tests.support.network import everything, exists, flags, marks, routes, wire
from tests.support.processes import alive, wait_for

DOWN = "/network/interfaces/v0/down"
ADDRESS = "/network/interfaces/v0/address"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("rollback")) as server:
        # Nobody asks for a second whether somebody else has an address.
        server.machine.run("sysctl", "-q", "-w", "net.ipv6.conf.default.dad_transmits=0")
        yield server


def commands(machine: Machine, text: str) -> None:
    for line in text.strip().splitlines():
        machine.run(*line.split())


@pytest.fixture
def network(server: SystemServer) -> Iterator[Machine]:
    """An interface v0 with addresses and routes."""
    machine = server.machine
    with wire(machine, "v0", "v1"):
        commands(
            machine,
            """
            ip link set v0 up addrgenmode none
            ip link set v1 up addrgenmode none
            ip address add 10.1.0.1/24 dev v0
            ip address add 10.1.0.2/24 dev v0
            ip address add fd01::1/64 dev v0
            ip route add default via 10.1.0.9
            ip route add 10.66.0.0/16 via 10.1.0.8 proto static metric 7
            ip route add 10.67.0.0/16 nexthop via 10.1.0.8 nexthop via 10.1.0.7 weight 3
            ip -6 route add fd66::/64 via fd01::9
            """,
        )
        yield machine


@pytest.fixture
def bridge(server: SystemServer) -> Iterator[Machine]:
    """A bridge br0 with settings, an address and a route of its own, and a port w0 with settings too."""
    machine = server.machine
    with wire(machine, "w0", "w1"):
        commands(
            machine,
            """
            ip link set w0 up
            ip link set w1 up
            ip link add br0 type bridge forward_delay 400 mcast_snooping 0
            ip link set w0 master br0
            ip link set w0 type bridge_slave cost 77 hairpin on
            ip link set br0 mtu 1450
            ip link set br0 up alias lan
            ip address add 10.2.0.1/24 dev br0
            ip route add 10.68.0.0/16 via 10.2.0.9
            """,
        )
        settled(machine)
        try:
            yield machine
        finally:
            machine.run("ip", "link", "delete", "br0", check=False)


def settled(machine: Machine) -> None:
    """Block until the kernel has given all its own addresses, and tried them."""

    def is_settled() -> bool:
        links = machine.json("ip", "-j", "-6", "address", "show", "up")
        tentative = any(each.get("tentative") for link in links for each in link.get("addr_info", []))
        return not tentative and all(each.get("addr_info") for each in links if each)

    wait_for(is_settled, "the kernel's addresses")


def change(server: SystemServer, method: str, path: str, given: object = None) -> dict[str, Any]:
    """Make a change that succeeds, and return what was said."""
    answer = server.api(method, path, given)
    assert answer.status == 200, answer
    return dict(answer.json["data"])


def ended(server: SystemServer) -> dict[str, Any]:
    """Block until the latest change waits no more, and return what became of it."""
    number = max(path.name for path in (server.server.state / "jobs" / "network_rollback").iterdir())
    found = wait_for(
        lambda: (job := server.data(f"/jobs/network_rollback-{number}")["job"])["status"] != "running" and job,
        "the end of the waiting",
    )
    return dict(found)


def restored(machine: Machine, before: object) -> Callable[[], bool]:
    return lambda: everything(machine) == before


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("PUT", DOWN, None),
        ("PUT", "/network/interfaces/v1/up", None),
        ("POST", ADDRESS, {"address": "10.1.0.3", "netmask": 24}),
        ("POST", ADDRESS, {"address": "fd01::3", "netmask": 64, "gateway": "fd01::9"}),
        ("PUT", ADDRESS, {"address": "10.1.0.3", "netmask": 24, "gateway": "10.1.0.4"}),
        ("PUT", ADDRESS, {"address": "172.16.0.3", "netmask": 12, "gateway": "172.16.0.4"}),
        ("PUT", ADDRESS, {"address": "fd01::1", "netmask": 48}),
        ("DELETE", f"{ADDRESS}?address=10.1.0.1", None),
        ("POST", "/network/bridge", {"name": "br1", "interfaces": ["v0"]}),
    ],
)
def test_what_is_not_confirmed_is_undone(
    server: SystemServer, network: Machine, method: str, path: str, given: object
) -> None:
    if path.endswith("/up"):
        network.run("ip", "link", "set", "v1", "down")
    before = everything(network)
    said = change(server, method, f"{path}{'&' if '?' in path else '?'}rollback=600", given)
    assert everything(network) != before
    os.kill(marks(server.server.state)["child_pid"], signal.SIGTERM)  # undoes at once, as if the time were up
    wait_for(restored(network, before), f"the undoing of {method} {path}")
    job = ended(server)
    assert job["id"] == said["rollback"]["job"]
    assert (job["status"], "undone" in job["message"]) == ("success", True)
    assert everything(network) == before


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("DELETE", "/network/interfaces/s0/address?address=10.9.9.9&rollback=600", None),
        ("PUT", "/network/interfaces/s0/address?rollback=600", {"address": "10.9.9.8", "netmask": 32}),
    ],
)
def test_routes_from_an_address_come_back_with_it(
    server: SystemServer, network: Machine, method: str, path: str, given: object
) -> None:
    with wire(network, "s0", "s1"):
        commands(
            network,
            """
            ip address add 10.9.9.9/32 dev s0
            ip route add 10.69.0.0/16 via 10.1.0.8 src 10.9.9.9
            """,
        )
        before = everything(network)
        change(server, method, path, given)
        assert "10.69.0.0/16" not in [each["dst"] for each in routes(network)]
        os.kill(marks(server.server.state)["child_pid"], signal.SIGTERM)
        wait_for(restored(network, before), "the undoing")
        ended(server)


def test_a_bridge_comes_back_with_all_it_had(server: SystemServer, bridge: Machine) -> None:
    before = everything(bridge)
    change(server, "DELETE", "/network/bridge/br0?rollback=600")
    assert not exists(bridge, "br0")
    os.kill(marks(server.server.state)["child_pid"], signal.SIGTERM)
    wait_for(restored(bridge, before), "the undoing")
    assert ended(server)["status"] == "success"


def test_the_time_is_kept(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    began = time.monotonic()
    assert change(server, "PUT", f"{DOWN}?rollback=2")["rollback"]["seconds"] == 2
    wait_for(restored(network, before), "the undoing")
    assert time.monotonic() - began >= 2
    ended(server)


def test_what_is_confirmed_stays(server: SystemServer, network: Machine) -> None:
    said = change(server, "PUT", f"{DOWN}?rollback=600")
    pids = marks(server.server.state)
    for method, path, given in [
        ("PUT", "/network/interfaces/v0/up", None),
        ("PUT", "/network/interfaces/v0/up?rollback=5", None),
        ("POST", "/network/bridge", {"name": "br1"}),
    ]:
        answer = server.api(method, path, given)
        assert (answer.status, "confirm" in answer.json["error"]["message"]) == (409, True)
    answer = server.api("POST", "/network/confirm")
    assert answer.json["data"] == {"message": "Confirmed: Interface v0 brought down"}
    assert not alive(pids["pid"])
    assert not alive(pids["child_pid"])
    assert "UP" not in flags(network, "v0")
    assert "confirmed" in server.data(f"/jobs/{said['rollback']['job']}")["job"]["message"]
    assert server.api("POST", "/network/confirm").status == 409
    change(server, "PUT", "/network/interfaces/v0/up")


def test_a_change_that_fails_waits_for_nothing(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    refused = {"address": "10.3.0.1", "netmask": 24, "gateway": "10.4.0.1"}
    network.run("ip", "route", "delete", "default")
    answer = server.api("POST", f"{ADDRESS}?rollback=600", refused)
    assert answer.status == 400, answer
    network.run("ip", "route", "add", "default", "via", "10.1.0.9")
    assert everything(network) == before
    assert server.api("POST", "/network/confirm").status == 409
    change(server, "PUT", "/network/interfaces/v1/down")


def test_an_undoing_is_audited(server: SystemServer, network: Machine) -> None:
    change(server, "PUT", f"{DOWN}?rollback=1")
    ended(server)
    database = sqlite3.connect(server.server.state / "appliance.db")
    rows = database.execute(
        "SELECT action, object, outcome, actor_kind FROM audit WHERE action = 'network.rollback' ORDER BY id DESC"
    ).fetchall()
    database.close()
    assert rows[0] == ("network.rollback", "Interface v0 brought down", "success", "system")


# -- whoever dies


def test_a_killed_server_leaves_no_change_behind(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=3")
    server.server.kill()
    assert "UP" not in flags(network, "v0")
    wait_for(restored(network, before), "the undoing without a server")
    server.server.start()
    assert everything(network) == before
    assert server.api("POST", "/network/confirm").status == 409
    change(server, "PUT", DOWN)


def test_a_restarted_server_can_still_be_told(server: SystemServer, network: Machine) -> None:
    change(server, "PUT", f"{DOWN}?rollback=600")
    pids = marks(server.server.state)
    server.server.kill()
    server.server.start()
    assert server.api("PUT", "/network/interfaces/v0/up").status == 409
    assert server.api("POST", "/network/confirm").status == 200
    assert not alive(pids["child_pid"])
    assert "UP" not in flags(network, "v0")
    change(server, "PUT", "/network/interfaces/v0/up")


@pytest.mark.parametrize("decision", [CONFIRMED, WITHDRAWN])
def test_what_a_killed_server_had_decided_holds_up_nothing(
    server: SystemServer, network: Machine, decision: str
) -> None:
    change(server, "PUT", f"{DOWN}?rollback=600")
    pids = marks(server.server.state)
    server.server.kill()
    folder = max((server.server.state / "jobs" / "network_rollback").iterdir())
    decide(folder, decision)  # and then it was killed
    server.server.start()
    change(server, "PUT", "/network/interfaces/v1/down")
    assert not alive(pids["child_pid"])
    assert "UP" not in flags(network, "v0")
    assert server.api("POST", "/network/confirm").status == 409
    change(server, "PUT", "/network/interfaces/v0/up")


@pytest.mark.parametrize(("decision", "status"), [(CONFIRMED, 200), (WITHDRAWN, 409)])
def test_a_confirmation_may_be_repeated(server: SystemServer, network: Machine, decision: str, status: int) -> None:
    change(server, "PUT", f"{DOWN}?rollback=600")
    pids = marks(server.server.state)
    decide(max((server.server.state / "jobs" / "network_rollback").iterdir()), decision)
    answer = server.api("POST", "/network/confirm")
    assert (answer.status, "undone" in answer.body.decode()) == (status, False)
    assert not alive(pids["child_pid"])
    assert "UP" not in flags(network, "v0")
    change(server, "PUT", "/network/interfaces/v0/up")


def test_what_was_broken_off_cannot_be_confirmed(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    said = change(server, "PUT", f"{DOWN}?rollback=600")
    folder = max((server.server.state / "jobs" / "network_rollback").iterdir())
    server.server.kill()
    (folder / "made").unlink()  # as if it had been killed before it could say so
    server.server.start()
    assert "UP" not in flags(network, "v0")
    answer = server.api("POST", "/network/confirm")
    assert (answer.status, "killed" in answer.json["error"]["message"]) == (409, True)
    assert everything(network) == before
    assert "broken off" in server.data(f"/jobs/{said['rollback']['job']}")["job"]["message"]


def test_a_stopped_server_leaves_the_change_to_be_undone(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=3")
    server.server.stop()
    assert "UP" not in flags(network, "v0")
    wait_for(restored(network, before), "the undoing without a server")
    server.server.start()


def test_the_server_undoes_where_the_process_was_killed(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=600")
    os.kill(marks(server.server.state)["child_pid"], signal.SIGKILL)
    wait_for(restored(network, before), "the server to undo")
    ended(server)


def test_a_killed_supervisor_changes_nothing(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=3")
    os.kill(marks(server.server.state)["pid"], signal.SIGKILL)
    wait_for(restored(network, before), "the undoing")
    ended(server)


def test_the_next_server_undoes_where_all_were_killed(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=600")
    pids = marks(server.server.state)
    server.server.kill()
    os.kill(pids["pid"], signal.SIGKILL)
    os.kill(pids["child_pid"], signal.SIGKILL)
    wait_for(lambda: not alive(pids["child_pid"]), "its end")
    assert everything(network) != before
    server.server.start()
    assert everything(network) == before
    assert server.api("POST", "/network/confirm").status == 409


def test_a_process_told_to_end_undoes_at_once(server: SystemServer, network: Machine) -> None:
    before = everything(network)
    change(server, "PUT", f"{DOWN}?rollback=600")
    server.server.kill()
    os.kill(marks(server.server.state)["child_pid"], signal.SIGTERM)
    wait_for(restored(network, before), "the undoing")
    server.server.start()
    assert everything(network) == before
