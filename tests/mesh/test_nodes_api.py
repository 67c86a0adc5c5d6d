"""The endpoints of nodes and certificates over HTTPS: what they answer, exactly."""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from appliance.mesh.certificates import pem
from appliance.mesh.certificates.keys import new_host_key
from tests.support.mesh_server import MeshServer, mesh_server

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
PORT = "listen_port = 4343\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServer]:
    with mesh_server(tmp_path_factory.mktemp("nodes"), f'[mesh]\nrate_limit_exempt = ["127.0.0.1"]\n{PORT}') as server:
        yield server


def node_of(server: MeshServer, who: str, node_id: int) -> Any:
    return server.good(who, "GET", f"/nodes/{node_id}")


def detail(server: MeshServer, who: str, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = server.api(who, method, path, body)
    return answer.status, answer.json["detail"]


def test_a_node_is_made_with_its_certificate(server: MeshServer) -> None:
    network = server.new_network("alice", "create", "10.1.0.0/24")
    body = {"network_id": network, "name": "lighthouse", "is_lighthouse": False}
    first = detail(server, "alice", "POST", "/certificates/create", body)
    assert first == (400, "The first node of a network must be a lighthouse")
    made = server.new_node("alice", network, "lighthouse", public_endpoint="vpn.example.com:4242")
    assert list(made) == ["node_id", "hostname", "ip_address", "certificate", "private_key", "ca_certificate"]
    assert (made["hostname"], made["ip_address"]) == ("lighthouse", "10.1.0.1")
    assert "NEBULA CERTIFICATE" in made["certificate"] and "NEBULA CERTIFICATE" in made["ca_certificate"]
    assert "NEBULA X25519 PRIVATE KEY" in made["private_key"]
    node = node_of(server, "alice", made["node_id"])
    assert MOMENT.fullmatch(node["created_at"]) and re.fullmatch("[0-9a-f]{64}", node["cert_fingerprint"])
    expected = {
        "id": made["node_id"],
        "network_id": network,
        "hostname": "lighthouse",
        "ip_address": "10.1.0.1",
        "cert_fingerprint": node["cert_fingerprint"],
        "groups": [],
        "is_lighthouse": True,
        "is_relay": False,
        "public_endpoint": "vpn.example.com:4242",
        "lighthouse_options": None,
        "logging_options": None,
        "punchy_options": None,
        "status": "pending",
        "last_seen": None,
        "first_polled_at": None,
        "created_at": node["created_at"],
    }
    assert node == expected and list(node) == list(expected)
    options = {"lighthouse_options": {"interval_seconds": 30, "more": 1}, "punchy_options": {"delay": "1s"}}
    second = server.new_node("alice", network, "second", group="ops", is_relay=True, **options)
    node = node_of(server, "alice", second["node_id"])
    assert (node["groups"], node["is_relay"], node["is_lighthouse"]) == (["ops"], True, False)
    assert node["lighthouse_options"] == {"interval_seconds": 30} and node["punchy_options"] == {"delay": "1s"}
    assert [each["id"] for each in server.good("alice", "GET", f"/nodes?network_id={network}")] == [
        made["node_id"],
        second["node_id"],
    ]
    same_name = detail(server, "alice", "POST", "/certificates/create", {"network_id": network, "name": "second"})
    assert same_name == (409, "A node with this name already exists in the network")
    taken = {"network_id": network, "name": "third", "suggested_ip": "10.1.0.2"}
    assert detail(server, "alice", "POST", "/certificates/create", taken) == (409, "IP address is already in use")


def test_a_full_network(server: MeshServer) -> None:
    network = server.new_network("alice", "full", "10.2.0.0/30")
    assert [server.new_node("alice", network, name)["ip_address"] for name in "ab"] == ["10.2.0.1", "10.2.0.2"]
    full = (409, "No available IP address in the network")
    assert detail(server, "alice", "POST", "/certificates/create", {"network_id": network, "name": "c"}) == full
    node_id = server.good("alice", "GET", f"/nodes?network_id={network}")[1]["id"]
    assert server.api("alice", "DELETE", f"/nodes/{node_id}").status == 204
    assert server.api("alice", "GET", f"/nodes/{node_id}").json == {"detail": "Node not found"}
    again = server.new_node("alice", network, "c")
    assert again["ip_address"] == "10.2.0.2" and again["node_id"] > node_id


def test_a_key_that_stays_with_its_host_is_signed(server: MeshServer) -> None:
    network = server.new_network("alice", "sign", "10.3.0.0/24")
    server.new_node("alice", network, "lighthouse")
    body = {
        "network_id": network,
        "name": "laptop",
        "public_key": pem.encode(pem.X25519_PUBLIC_KEY, new_host_key().public),
    }
    signed = server.good("alice", "POST", "/certificates/sign", {**body, "suggested_ip": "10.3.0.7", "group": "ops"})
    assert list(signed) == ["ip_address", "certificate", "ca_certificate"] and signed["ip_address"] == "10.3.0.7"
    (laptop,) = [n for n in server.good("alice", "GET", f"/nodes?network_id={network}") if n["hostname"] == "laptop"]
    again = server.good("alice", "POST", "/certificates/sign", {**body, "duration_days": 30})
    assert again["ip_address"] == "10.3.0.7"
    now = node_of(server, "alice", laptop["id"])
    assert now["groups"] == ["ops"] and now["cert_fingerprint"] != laptop["cert_fingerprint"]
    listed = server.good("alice", "GET", f"/certificates?network_id={network}")
    assert list(listed[0]) == [
        "id", "node_id", "node_name", "network_id", "network_name", "ip_address", "issued_at", "expires_at",
        "revoked_at",
    ]  # fmt: skip
    assert [each["id"] for each in listed] == sorted((each["id"] for each in listed), reverse=True)
    assert [each["node_name"] for each in listed] == ["laptop", "laptop", "lighthouse"]
    lives = [datetime.fromisoformat(c["expires_at"]) - datetime.fromisoformat(c["issued_at"]) for c in listed]
    assert [life.days for life in lives] == [30, 365, 365]
    # The configuration says where the host has its key; nothing else could.
    config = yaml.safe_load(server.api("alice", "GET", f"/nodes/{laptop['id']}/config").body)
    assert config["pki"]["key"] == "/etc/nebula/host.key"


def test_what_is_downloaded(server: MeshServer) -> None:
    network = server.new_network("alice", "download", "10.4.0.0/24")
    made = server.new_node("alice", network, "gate.example_1")
    config = server.api("alice", "GET", f"/nodes/{made['node_id']}/config")
    assert config.headers["content-disposition"] == 'attachment; filename="gate.example_1.yaml"'
    assert (
        config.headers["content-type"].startswith("application/yaml") and config.headers["cache-control"] == "no-store"
    )
    content = yaml.safe_load(config.body)
    assert content["pki"]["key"] == made["private_key"] and content["pki"]["cert"] == made["certificate"]
    assert content["listen"] == {"host": "0.0.0.0", "port": 4343}
    certs = server.api("alice", "GET", f"/nodes/{made['node_id']}/certs")
    assert certs.headers["content-disposition"] == 'attachment; filename="node-gate.example_1-certs.zip"'
    with zipfile.ZipFile(io.BytesIO(certs.body)) as archive:
        assert set(archive.namelist()) == {"ca.crt", "host.crt", "host.key", "README.txt"}
        assert archive.read("host.crt").decode() == made["certificate"]
    server.good("alice", "POST", f"/nodes/{made['node_id']}/revoke-certificate")
    for path in ("config", "certs"):
        assert detail(server, "alice", "GET", f"/nodes/{made['node_id']}/{path}") == (404, "Node has no certificate")


def test_changes_of_a_node(server: MeshServer) -> None:
    network = server.new_network("alice", "change", "10.5.0.0/24")
    only = server.new_node("alice", network, "only", group="a")["node_id"]
    before = node_of(server, "alice", only)
    path = f"/nodes/{only}"
    given = {
        "is_relay": True,
        "public_endpoint": "[2001:db8::1]:4242",
        "lighthouse_options": {"serve_dns": True, "dns_port": 53},
        "logging_options": {"level": "debug", "format": "json"},
        "punchy_options": {"respond": False, "respond_delay": "1m30s"},
    }
    assert server.good("alice", "PATCH", path, {**given, "unknown": 1}) == {"ok": True}
    assert node_of(server, "alice", only) == {**before, **given}
    assert server.good("alice", "PATCH", path, {"group": None, "public_endpoint": ""}) == {"ok": True}
    assert node_of(server, "alice", only) == {**before, **given, "public_endpoint": None}
    # Another group is another certificate.
    server.good("alice", "PATCH", path, {"group": "b"})
    changed = node_of(server, "alice", only)
    assert changed["groups"] == ["b"] and changed["cert_fingerprint"] != before["cert_fingerprint"]
    server.good("alice", "PATCH", path, {"group": ""})
    assert node_of(server, "alice", only)["groups"] == []
    words = (409, "The node is the network's only lighthouse")
    assert detail(server, "alice", "PATCH", path, {"is_lighthouse": False}) == words
    assert detail(server, "alice", "DELETE", path) == words
    server.new_node("alice", network, "another", is_lighthouse=True)
    assert server.good("alice", "PATCH", path, {"is_lighthouse": False}) == {"ok": True}
    gone = server.api("alice", "DELETE", path)
    assert (gone.status, gone.body) == (204, b"")


def test_a_node_that_was_revoked(server: MeshServer) -> None:
    network = server.new_network("alice", "revoke", "10.6.0.0/24")
    server.new_node("alice", network, "lighthouse")
    node = server.new_node("alice", network, "lost", group="a")["node_id"]
    token, path = server.enroll("alice", node), f"/nodes/{node}"
    fingerprint = node_of(server, "alice", node)["cert_fingerprint"]
    early = server.good("alice", "POST", "/device/enrollment-codes", {"node_id": node})["code"]
    assert server.ask("POST", f"{path}/heartbeat", token=token).status == 200
    assert node_of(server, "alice", node)["status"] == "active"
    assert server.good("alice", "POST", f"{path}/revoke-certificate") == {"ok": True}
    assert server.ask("POST", f"{path}/heartbeat", token=token).status == 401
    # Whoever manages nodes may say that he has seen it: it has no certificate for all that.
    beat = server.good("alice", "POST", f"{path}/heartbeat", {"anything": [1]})
    assert beat["ok"] is True and MOMENT.fullmatch(beat["last_seen"])
    now = node_of(server, "alice", node)
    assert (now["status"], now["ip_address"], now["cert_fingerprint"]) == ("revoked", None, None)
    assert server.good("alice", "PATCH", path, {"group": "b"}) == {"ok": True}
    assert node_of(server, "alice", node)["groups"] == ["b"]
    no_certificate = (400, "Node has no certificate yet. Create a certificate first.")
    assert detail(server, "alice", "POST", "/device/enrollment-codes", {"node_id": node}) == no_certificate
    listed = server.good("alice", "GET", f"/certificates?network_id={network}")
    assert [each["revoked_at"] is not None for each in listed] == [True, False]
    assert fingerprint in server.api("alice", "GET", f"/nodes/{node - 1}/config").body.decode()
    assert server.good("alice", "POST", f"{path}/re-enroll") == {"node_id": node, "ok": True}
    now = node_of(server, "alice", node)
    assert (now["status"], now["ip_address"]) == ("pending", "10.6.0.2") and now["cert_fingerprint"] != fingerprint
    # Neither what was handed out before opens it now.
    assert server.ask("GET", "/device/config", token=token).status == 401
    assert detail(server, "alice", "POST", "/device/enroll", {"code": early}) == (400, "Code expired")


def test_moments_are_utc(server: MeshServer) -> None:
    network = server.new_network("alice", "moments", "10.7.0.0/24")
    node = server.new_node("alice", network, "one")["node_id"]
    seen = server.good("alice", "POST", f"/nodes/{node}/heartbeat")["last_seen"]
    now = datetime.now(UTC).replace(tzinfo=None)
    assert abs((now - datetime.fromisoformat(seen)).total_seconds()) < 300
    assert node_of(server, "alice", node)["last_seen"] == seen


@pytest.mark.parametrize("number", [0, 2**31 - 1, 2**31, 2**63, 10**30])
def test_large_numbers(server: MeshServer, number: int) -> None:
    for path in ("networks/{}", "nodes/{}", "nodes/{}/config", "networks/{}/dns", "users/{}"):
        for method in ("GET", "PATCH", "DELETE", "PUT"):
            body: object = {} if method in ("PATCH", "PUT") else None
            assert server.api("admin", method, "/" + path.format(number), body).status in (404, 405, 422), path
    for path in ("nodes?network_id={}", "certificates?network_id={}", "node-requests?network_id={}", "audit?limit={}"):
        assert server.api("admin", "GET", "/" + path.format(number)).status in (200, 404, 422), path
    assert server.api("admin", "GET", f"/audit?offset={number}").status in (200, 422)
    for method, path, field in (
        ("POST", "/certificates/create", "network_id"),
        ("POST", "/device/enrollment-codes", "node_id"),
        ("POST", "/node-requests", "network_id"),
    ):
        body = {field: number, "name": "x", "hostname": "x"}
        assert server.api("admin", method, path, body).status in (404, 422), path
    assert server.api("admin", "DELETE", f"/access-grants/{number}").status == 404
    assert server.api("admin", "POST", f"/nodes/{number}/heartbeat").status == 404
