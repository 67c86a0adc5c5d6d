"""Many at once over HTTPS, on a file and on a PostgreSQL server that two controllers share: exactly one wins."""

import collections
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.mesh import shared_server
from tests.support.mesh_server import EXEMPT, MeshAnswer, MeshServer, mesh_server
from tests.support.server import Server


@dataclass
class Controllers:
    """One or two servers over one mesh."""

    servers: list[MeshServer]

    @property
    def first(self) -> MeshServer:
        return self.servers[0]

    def at_once(self, count: int, ask: Callable[[MeshServer, int], MeshAnswer]) -> list[MeshAnswer]:
        """Ask so many times at once, each on a connection of its own, of one server after the other."""

        def one(number: int) -> MeshAnswer:
            base = self.servers[number % len(self.servers)]
            own = MeshServer(base.server, self.first.tokens)
            try:
                return ask(own, number)
            finally:
                own.disconnect()

        with ThreadPoolExecutor(20) as pool:
            return list(pool.map(one, range(count)))


@pytest.fixture(scope="module", params=["one file", "two controllers on PostgreSQL"])
def controllers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controllers]:
    folder = tmp_path_factory.mktemp("races")
    if request.param == "one file":
        with mesh_server(folder / "one") as server:
            yield Controllers([server])
        return
    key = folder / "master.key"
    config = f'{EXEMPT}database_url = "{shared_server().new_database()}"\nmaster_key_file = "{key}"\n'
    with mesh_server(folder / "one", config) as first, mesh_server(folder / "two", config) as second:
        for each in (first, second):
            # Where tests look for the key when they sign tokens themselves.
            (each.server.state / "mesh").mkdir()
            shutil.copy(key, each.server.state / "mesh" / "master.key")
        yield Controllers([first, second])


def counted(answers: list[MeshAnswer]) -> dict[int, int]:
    return dict(collections.Counter(answer.status for answer in answers))


def test_networks_of_one_name(controllers: Controllers) -> None:
    controllers.first.token("alice")
    body = {"name": "race", "subnet_cidr": "10.1.0.0/24", "allow_overlap": True}
    answers = controllers.at_once(50, lambda server, _: server.api("alice", "POST", "/networks", body))
    assert counted(answers) == {200: 1, 409: 49}


def test_nodes(controllers: Controllers) -> None:
    network = controllers.first.new_network("alice", "nodes")
    controllers.first.new_node("alice", network, "lighthouse")

    def create(server: MeshServer, **fields: object) -> MeshAnswer:
        return server.api("alice", "POST", "/certificates/create", {"network_id": network, **fields})

    answers = controllers.at_once(50, lambda server, n: create(server, name=f"auto{n}"))
    assert counted(answers) == {200: 50}
    assert len({answer.json["ip_address"] for answer in answers}) == 50
    answers = controllers.at_once(50, lambda server, _: create(server, name="same"))
    assert counted(answers) == {200: 1, 409: 49}
    answers = controllers.at_once(50, lambda server, n: create(server, name=f"at{n}", suggested_ip="10.77.0.200"))
    assert counted(answers) == {200: 1, 409: 49}
    # What one controller has answered the other one knows.
    for server in controllers.servers:
        nodes = server.good("alice", "GET", f"/nodes?network_id={network}")
        assert len(nodes) == 53
        assert len({node["ip_address"] for node in nodes}) == 53


def test_one_code_is_redeemed_once(controllers: Controllers) -> None:
    network = controllers.first.new_network("alice", "codes")
    node = controllers.first.new_node("alice", network, "lighthouse")["node_id"]
    code = controllers.first.good("alice", "POST", "/device/enrollment-codes", {"node_id": node})["code"]
    answers = controllers.at_once(
        20, lambda server, _: server.ask("POST", "/device/enroll", {"code": f" {code.lower()}\n"})
    )
    assert counted(answers) == {200: 1, 400: 19}
    assert {answer.json["detail"] for answer in answers if answer.status == 400} == {"Code already used"}


def test_the_last_owner_and_the_last_admin_stay(controllers: Controllers) -> None:
    first = controllers.first
    network = first.new_network("alice", "owners")
    bob, alice = first.user_id("bob"), first.user_id("alice")
    first.good("alice", "POST", f"/networks/{network}/users", {"user_id": bob, "role": "owner"})
    path = f"/networks/{network}/users"
    answers = controllers.at_once(20, lambda server, n: server.api("admin", "DELETE", f"{path}/{(alice, bob)[n % 2]}"))
    assert sum(answer.status == 204 for answer in answers) == 1
    assert len(first.good("admin", "GET", path)) == 1


def test_what_one_changes_the_other_serves(controllers: Controllers) -> None:
    """Configurations are cached, and yet nobody serves an old one."""
    first, last = controllers.servers[0], controllers.servers[-1]
    network = first.new_network("alice", "caches")
    first.new_node("alice", network, "lighthouse", public_endpoint="192.0.2.1:4242")
    node = first.new_node("alice", network, "host", group="staff")["node_id"]
    token = first.enroll("alice", node)

    def poll(server: MeshServer, etag: str = "") -> MeshAnswer:
        return server.ask("GET", "/device/config", token=token, headers={"If-None-Match": etag})

    etag = ""
    changes: list[tuple[str, str, object]] = [
        ("PUT", f"/networks/{network}/group-firewall/staff", {"inbound_rules": []}),
        ("PATCH", f"/nodes/{node}", {"group": "guests"}),
        ("PATCH", f"/nodes/{node}", {"logging_options": {"level": "debug"}}),
        ("PUT", f"/networks/{network}/group-firewall/guests", {"inbound_rules": []}),
        ("DELETE", f"/networks/{network}/group-firewall/guests", None),
        ("POST", "/certificates/create", {"network_id": network, "name": "second", "is_lighthouse": True}),
    ]
    for change in (None, *changes):
        if change is not None:
            first.good("alice", *change)
        answer = poll(last, etag)
        assert answer.status == 200
        assert answer.headers["etag"] != etag
        etag = answer.headers["etag"]
        if change is not None and change[2] == {"group": "guests"}:
            # It has the new certificate now, so the old one has come to the blocklist: its own, too.
            answer = poll(first, etag)
            assert answer.status == 200
            etag = answer.headers["etag"]
        assert [poll(server, etag).status for server in controllers.servers] == [304] * len(controllers.servers)
    for form in (etag, f'"{etag}"', f'W/"{etag}"', f'"x", "{etag}"', "*"):
        assert poll(last, form).status == 304
    assert poll(last, '"x"').status == 200
    first.good("alice", "POST", f"/nodes/{node}/revoke-certificate")
    assert poll(last, etag).status == 401


def test_nothing_lies_open(tmp_path: Path) -> None:
    """No code, token or private key in the database or beside it, as `strings` would show it."""
    with mesh_server(tmp_path / "server") as server:
        network = server.new_network("alice", "office")
        made = server.new_node("alice", network, "lighthouse")
        code = server.good("alice", "POST", "/device/enrollment-codes", {"node_id": made["node_id"]})["code"]
        device = server.good(None, "POST", "/device/enroll", {"code": code})["device_token"]
        invited = server.good("alice", "POST", "/invitations", {"email": "bob@example.test", "network_id": network})
        challenge = server.good("alice", "POST", "/auth/reauth/challenge")["challenge"]
        key = "".join(made["private_key"].splitlines()[1:-1])
        secrets = {
            "code": code,
            "device token": device,
            "user token": server.token("alice"),
            "invitation": invited["token"],
            "challenge": challenge,
            "private key": key,
        }
        server.server.stop()
        server.disconnect()
        kept = b"".join(path.read_bytes() for path in sorted(server.server.state.rglob("*")) if path.is_file())
        log = server.server.log.read_bytes()
    for name, secret in secrets.items():
        assert secret.encode() not in kept, name
        assert secret.encode() not in log, name
    own_key = (server.server.state / "tls" / "server.pem").read_bytes()
    assert b"PRIVATE KEY" not in kept.replace(own_key, b"")
    mode = os.stat(server.server.state / "mesh" / "master.key").st_mode & 0o777
    assert mode == 0o600


def test_a_killed_server_loses_nothing_it_has_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", EXEMPT)
    server.start()
    mesh = MeshServer(server)
    try:
        network = mesh.new_network("alice", "office", "10.77.0.0/16")
        lighthouse = mesh.new_node("alice", network, "lighthouse")["node_id"]
        token = mesh.enroll("alice", lighthouse)
        acknowledged: list[tuple[str, str]] = []
        beats: list[str] = []

        def create(number: int) -> None:
            own = MeshServer(server, mesh.tokens)
            try:
                if number == 120:
                    server.kill()
                body = {"network_id": network, "name": f"n{number}"}
                made = own.api("alice", "POST", "/certificates/create", body)
                if made.status == 200:
                    acknowledged.append((f"n{number}", made.json["ip_address"]))
                for _ in range(5):
                    beat = own.ask("POST", f"/nodes/{lighthouse}/heartbeat", token=token)
                    if beat.status == 200:
                        beats.append(beat.json["last_seen"])
            except OSError:
                pass  # it was killed
            finally:
                own.disconnect()

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(create, range(200)))
        assert acknowledged
        assert beats
        server.start()
        nodes = {node["hostname"]: node for node in mesh.good("alice", "GET", f"/nodes?network_id={network}")}
        addresses = [node["ip_address"] for node in nodes.values()]
        assert len(addresses) == len(set(addresses))
        for name, address in acknowledged:
            assert nodes[name]["ip_address"] == address
        assert nodes["lighthouse"]["last_seen"] >= max(beats)
        assert mesh.ask("GET", "/device/config", token=token).status == 200
    finally:
        mesh.disconnect()
        if server.process is not None:
            server.stop()
