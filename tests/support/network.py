"""Interfaces to try things on, and a neighbour on a wire to them, in the network of a private machine."""

import contextlib
import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.machine import Machine, SystemServer
from tests.support.server import Server


def addresses(machine: Machine, name: str) -> list[str]:
    """The addresses of an interface without the kernel's own, as ip(8) tells them."""
    (found,) = machine.json("ip", "-j", "address", "show", "dev", name)
    return [
        f"{each['local']}/{each['prefixlen']}"
        for each in found["addr_info"]
        if not (each["family"] == "inet6" and each["scope"] == "link")
    ]


def flags(machine: Machine, name: str) -> list[str]:
    """The flags of an interface."""
    (found,) = machine.json("ip", "-j", "link", "show", "dev", name)
    return list(found["flags"])


def exists(machine: Machine, name: str) -> bool:
    """Whether there is such an interface."""
    return machine.run("ip", "link", "show", "dev", name, check=False).returncode == 0


def routes(machine: Machine, *options: str) -> list[dict[str, Any]]:
    """The routes of the main table; `options` such as -6."""
    found: list[dict[str, Any]] = machine.json("ip", "-j", *options, "route", "show")
    return found


def everything(machine: Machine) -> dict[str, Any]:
    """All that ip(8) tells of links, addresses and routes, without what changes by itself."""
    links = {}
    for link in machine.json("ip", "-d", "-j", "address", "show"):
        for passing in ("operstate", "qdisc", "promiscuity", "allmulti", "min_mtu", "max_mtu", "ifindex"):
            link.pop(passing, None)
        link["flags"] = sorted(set(link["flags"]) & {"UP", "LOOPBACK", "NOARP"})
        link["addr_info"] = sorted(f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"])
        information = link.get("linkinfo", {})
        for part in ("info_data", "info_slave_data"):
            kept = {name: value for name, value in information.get(part, {}).items() if not _is_passing(name)}
            information[part] = kept
        links[link["ifname"]] = link
    found = [route for family in ("-4", "-6") for route in routes(machine, family)]
    for route in found:
        for each in (route, *route.get("nexthops", [])):
            each["flags"] = []  # `linkdown` comes when the kernel has noticed
    return {"links": links, "routes": sorted(map(str, found))}


def _is_passing(name: str) -> bool:
    """Whether a bridge or its port tells there of its state, not of its settings."""
    return name.endswith("timer") or name in ("state", "topology_change_ack", "config_pending", "fdb_n_learned")


@contextlib.contextmanager
def wire(machine: Machine, one: str, other: str) -> Iterator[None]:
    """Two interfaces, both down, of which each receives what the other sends."""
    machine.run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
    try:
        yield
    finally:
        machine.run("ip", "link", "delete", one, check=False)


class _Neighbour(Server):
    """The server as it is reached from elsewhere."""

    host = ""

    @property
    def base(self) -> str:
        return f"https://{self.host}:{self.port}"


@contextlib.contextmanager
def neighbour(server: SystemServer, name: str, ours: str, its: str) -> Iterator[SystemServer]:
    """The server as it is seen by a machine at the other end of `name`, which gets the address `ours`.

    `its` is the address of that machine; both with `/` and the length of the prefix.
    """
    machine = server.machine
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        inside = ("nsenter", f"--target={process.pid}", "--net", "--")
        machine.run("ip", "link", "add", name, "type", "veth", "peer", "name", "far", "netns", str(process.pid))
        machine.run("ip", "address", "add", ours, "dev", name)
        machine.run("ip", "link", "set", name, "up")
        subprocess.run([*inside, "ip", "address", "add", its, "dev", "far"], check=True)
        subprocess.run([*inside, "ip", "link", "set", "far", "up"], check=True)
        fields = {each.name: getattr(server.server, each.name) for each in dataclasses.fields(Server)}
        seen = _Neighbour(**{**fields, "prefix": (*machine.prefix, *inside), "insecure": True})
        seen.host = ours.partition("/")[0]
        yield SystemServer(machine, seen, server.tokens)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
        machine.run("ip", "link", "delete", name, check=False)


def marks(state: Path) -> dict[str, int]:
    """Who keeps the latest change that waits for its confirmation."""
    folder = max((state / "jobs" / "network_rollback").iterdir())
    found: dict[str, int] = json.loads((folder / "process.json").read_text())
    return found
