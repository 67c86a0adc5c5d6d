"""Real Nebula: hosts in network namespaces of their own, with the configurations that their devices fetch."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.mesh_server import MeshServer, mesh_server

WAIT = 60.0


@dataclass
class Host:
    """A host: its namespace, its device token and its Nebula."""

    name: str
    namespace: int
    token: str
    folder: Path
    server: MeshServer
    etag: str = ""
    nebula: "subprocess.Popen[bytes] | None" = None

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.yml"

    def run(self, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        command = ["nsenter", f"--target={self.namespace}", "--net", "--", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=check)

    def poll(self) -> int:
        """What a device does every minute: fetch the configuration, and reload where it is another one."""
        answer = self.server.ask("GET", "/device/config", token=self.token, headers={"If-None-Match": self.etag})
        if answer.status == 200:
            self.etag = answer.headers["etag"]
            self.file.write_bytes(answer.body)
            self.file.chmod(0o600)
            if self.nebula is not None:
                self.nebula.send_signal(signal.SIGHUP)
        return answer.status

    def start(self) -> None:
        assert self.poll() == 200
        subprocess.run(["nebula", "-test", "-config", str(self.file)], capture_output=True, timeout=60, check=True)
        log = (self.folder / f"{self.name}.log").open("ab")
        with log:
            self.nebula = subprocess.Popen(
                ["nsenter", f"--target={self.namespace}", "--net", "--", "nebula", "-config", str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        if self.nebula is not None:
            self.nebula.terminate()
            self.nebula.wait(30)

    def pings(self, address: str) -> bool:
        return self.run("ping", "-c1", "-W1", address, check=False).returncode == 0

    def reaches(self, address: str, port: int) -> bool:
        script = f"exec 3<>/dev/tcp/{address}/{port}"
        return self.run("timeout", "1", "bash", "-c", script, check=False).returncode == 0


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextlib.contextmanager
def namespace() -> Iterator[int]:
    """A network namespace with `lo`; the process that holds it."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait(10)
        if holder.stdout is not None:
            holder.stdout.close()


@contextlib.contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Two namespaces with a cable between them, 10.66.0.1 and 10.66.0.2."""
    with namespace() as first, namespace() as second:
        name = f"n{os.getpid() % 100000}"
        argv = ["ip", "link", "add", f"{name}a", "netns", str(first), "type", "veth"]
        subprocess.run([*argv, "peer", "name", f"{name}b", "netns", str(second)], check=True, timeout=30)
        for number, (pid, end) in enumerate(((first, f"{name}a"), (second, f"{name}b")), 1):
            script = f"ip addr add 10.66.0.{number}/24 dev {end} && ip link set {end} up"
            subprocess.run(["nsenter", f"--target={pid}", "--net", "--", "sh", "-c", script], check=True, timeout=30)
        yield first, second


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MeshServer]:
    with mesh_server(tmp_path / "server") as server:
        yield server


@contextlib.contextmanager
def listening(host: Host, port: int) -> Iterator[None]:
    """Something that can be connected to on a host."""
    script = f"""
import socket
server = socket.create_server(("0.0.0.0", {port}))
print("ready", flush=True)
while True:
    server.accept()
"""
    process = subprocess.Popen(
        ["nsenter", f"--target={host.namespace}", "--net", "--", "python3", "-c", script], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def test_two_machines(server: MeshServer, tmp_path: Path) -> None:
    network = server.new_network("alice", "office")
    lighthouse = server.new_node("alice", network, "lighthouse", public_endpoint="10.66.0.1:4242", group="servers")
    laptop = server.new_node("alice", network, "laptop", group="staff")
    with joined() as (first, second):
        gateway = Host("lighthouse", first, server.enroll("alice", lighthouse["node_id"]), tmp_path, server)
        mobile = Host("laptop", second, server.enroll("alice", laptop["node_id"]), tmp_path, server)
        hosts = (gateway, mobile)
        try:
            for host in hosts:
                host.start()
            until(lambda: mobile.pings("10.77.0.1"), "the laptop reaches the lighthouse")
            until(lambda: gateway.pings("10.77.0.2"), "the lighthouse reaches the laptop")
            with listening(gateway, 22), listening(gateway, 80):
                assert mobile.reaches("10.77.0.1", 22)
                assert mobile.reaches("10.77.0.1", 80)
                # A rule for the lighthouse's group: staff may come in at port 22 and nowhere else.
                rule = {"allowed_group": "staff", "protocol": "tcp", "port_range": "22"}
                path = f"/networks/{network}/group-firewall/servers"
                server.good("alice", "PUT", path, {"inbound_rules": [rule]})
                assert [host.poll() for host in hosts] == [200, 304]
                until(lambda: not mobile.reaches("10.77.0.1", 80), "port 80 is closed")
                until(lambda: mobile.reaches("10.77.0.1", 22), "port 22 is open")
                server.good("alice", "DELETE", path)
                assert gateway.poll() == 200
                until(lambda: mobile.reaches("10.77.0.1", 80), "port 80 is open again")
            # Revoked: the laptop cannot fetch anything, and the lighthouse cuts it off at its next poll.
            server.good("alice", "POST", f"/nodes/{laptop['node_id']}/revoke-certificate")
            assert mobile.poll() == 401
            assert gateway.poll() == 200
            until(lambda: not mobile.pings("10.77.0.1"), "the laptop is cut off")
            until(lambda: not gateway.pings("10.77.0.2"), "the lighthouse does not reach it either")
        finally:
            for host in hosts:
                host.stop()


def test_every_kind_of_configuration(server: MeshServer, tmp_path: Path) -> None:
    network = server.new_network("alice", "office")
    kinds: dict[str, dict[str, object]] = {
        "lighthouse": {
            "public_endpoint": "localhost:4243",
            "lighthouse_options": {
                "serve_dns": True,
                "dns_host": "10.77.0.1",
                "dns_port": 5353,
                "interval_seconds": 30,
            },
        },
        "second": {"is_lighthouse": True, "public_endpoint": "192.0.2.1:4242"},
        "relay": {"is_relay": True, "public_endpoint": "192.0.2.2:4242"},
        "grouped": {"group": "staff", "punchy_options": {"respond": False, "delay": "1s", "respond_delay": "5s"}},
        "plain": {},
        "revoked": {},
    }
    nodes = {name: server.new_node("alice", network, name, **more)["node_id"] for name, more in kinds.items()}
    rules = [
        {"allowed_group": "any", "protocol": "icmp", "port_range": "any"},
        {"allowed_group": "staff", "protocol": "tcp", "port_range": "22, 80,8000-8100", "description": "web"},
        {"allowed_group": "other", "protocol": "udp", "port_range": "1-65535"},
        {"allowed_group": "any", "protocol": "any", "port_range": "any"},
    ]
    server.good("alice", "PUT", f"/networks/{network}/group-firewall/staff", {"inbound_rules": rules})
    server.good("alice", "PUT", f"/networks/{network}/group-firewall/closed", {"inbound_rules": []})
    server.good(
        "alice", "PATCH", f"/nodes/{nodes['plain']}", {"group": "closed", "logging_options": {"level": "debug"}}
    )
    server.good("alice", "POST", f"/nodes/{nodes['revoked']}/revoke-certificate")
    for name, node_id in nodes.items():
        answer = server.api("alice", "GET", f"/nodes/{node_id}/config")
        if name == "revoked":
            assert answer.status == 404
            continue
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}.yaml"'
        file = tmp_path / f"{name}.yml"
        file.write_bytes(answer.body)
        tested = subprocess.run(
            ["nebula", "-test", "-config", str(file)], capture_output=True, text=True, timeout=60, check=False
        )
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert "blocklist" in answer.body.decode()
