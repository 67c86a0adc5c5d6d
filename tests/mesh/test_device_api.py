"""What devices ask for, over HTTPS: enrolment and the endpoints that a device's token opens."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from tests.support.mesh_server import MeshAnswer, MeshServer, mesh_server


@dataclass
class World:
    """A network with a lighthouse and a host, and the host's device."""

    server: MeshServer
    network: int
    lighthouse: int
    node: int
    token: str

    def poll(self, etag: str | None = None, path: str = "/device/config") -> MeshAnswer:
        headers = {} if etag is None else {"If-None-Match": etag}
        return self.server.ask("GET", path, token=self.token, headers=headers)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with mesh_server(tmp_path_factory.mktemp("devices")) as server:
        network = server.new_network("alice", "office")
        lighthouse = server.new_node("alice", network, "gate", public_endpoint="192.0.2.1:4242")["node_id"]
        node = server.new_node("alice", network, "laptop", group="staff")["node_id"]
        yield World(server, network, lighthouse, node, server.enroll("alice", node))


def test_codes_and_what_they_are_redeemed_for(world: World) -> None:
    server = world.server
    made = server.good("alice", "POST", "/device/enrollment-codes", {"node_id": world.lighthouse})
    assert list(made) == ["code", "expires_at", "node_id", "hostname"]
    assert (made["node_id"], made["hostname"]) == (world.lighthouse, "gate")
    assert re.fullmatch("[ABCDEFGHJKLMNPQRSTUVWXYZ23456789]{16}", made["code"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["expires_at"])
    typed = f"  {made['code'].lower()}\n"
    enrolled = server.good(None, "POST", "/device/enroll", {"code": typed})
    assert list(enrolled) == ["device_token", "node_id", "hostname", "network_name"]
    assert (enrolled["node_id"], enrolled["hostname"], enrolled["network_name"]) == (world.lighthouse, "gate", "office")
    for code, expected in {
        made["code"]: (400, "Code already used"),
        "": (400, "Code is required"),
        "   ": (400, "Code is required"),
        "A" * 16: (404, "Invalid or expired code"),
        "not a code": (404, "Invalid or expired code"),
        "ü" * 16: (404, "Invalid or expired code"),
    }.items():
        answer = server.ask("POST", "/device/enroll", {"code": code})
        assert (answer.status, answer.json["detail"]) == expected, code
    # A second enrolment ends the first one's token.
    assert server.ask("GET", "/device/info", token=enrolled["device_token"]).status == 200
    again = server.enroll("alice", world.lighthouse)
    assert server.ask("GET", "/device/info", token=enrolled["device_token"]).json == {
        "detail": "Invalid or expired device token"
    }
    assert server.ask("GET", "/device/info", token=again).json == {"network_name": "office", "hostname": "gate"}
    for hours in (0, 8761, -1, "x", 1.5):
        body = {"node_id": world.node, "expires_in_hours": hours}
        assert server.api("alice", "POST", "/device/enrollment-codes", body).status == 422, hours


def test_the_configuration_and_its_tags(world: World) -> None:
    full = world.poll()
    etag = full.headers["etag"]
    assert full.status == 200 and etag == hashlib.sha256(full.body).hexdigest()
    assert full.headers["content-type"].startswith("application/yaml")
    content = yaml.safe_load(full.body)
    assert content["static_host_map"] == {"10.77.0.1": ["192.0.2.1:4242"]}
    assert content["lighthouse"]["hosts"] == ["10.77.0.1"]
    assert content["pki"]["disconnect_invalid"] is True
    for known in (etag, f'"{etag}"', f'W/"{etag}"', f'"other", "{etag}"', f"x,{etag}", "*"):
        answer = world.poll(known)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag), known
    for other in ("", '""', "x", etag[:-1], f'"{etag}x"', etag.upper() + "x"):
        assert world.poll(other).status == 200, other
    node = world.server.good("alice", "GET", f"/nodes/{world.node}")
    assert node["status"] == "active" and node["first_polled_at"] <= node["last_seen"]
    # What concerns it makes another configuration, and only that.
    world.server.good("alice", "PUT", f"/networks/{world.network}/group-firewall/others", {"inbound_rules": []})
    world.server.good("alice", "PATCH", f"/networks/{world.network}", {"name": "office"})
    world.server.new_node("alice", world.network, "printer")
    assert world.poll(etag).status == 304
    rules = {"inbound_rules": [{"allowed_group": "any", "protocol": "tcp", "port_range": "1-65535"}]}
    world.server.good("alice", "PUT", f"/networks/{world.network}/group-firewall/staff", rules)
    changed = world.poll(etag)
    assert changed.status == 200 and changed.headers["etag"] != etag
    assert yaml.safe_load(changed.body)["firewall"]["inbound"] == [{"port": "1-65535", "proto": "tcp", "host": "any"}]
    world.server.good("alice", "PATCH", f"/nodes/{world.lighthouse}", {"public_endpoint": "192.0.2.2:4242"})
    assert world.poll(changed.headers["etag"]).status == 200


def test_certificates_and_what_else_agents_ask_for(world: World) -> None:
    certs = world.poll(path="/device/certs")
    assert certs.headers["content-disposition"] == 'attachment; filename="node-laptop-certs.zip"'
    with zipfile.ZipFile(io.BytesIO(certs.body)) as archive:
        assert set(archive.namelist()) == {"ca.crt", "host.crt", "host.key", "README.txt"}
    assert world.poll(path="/device/info").json == {"network_name": "office", "hostname": "laptop"}
    peers = {"peers": [{"node_id": world.lighthouse, "ip_address": "10.77.0.1"}]}
    assert world.poll(path="/device/lighthouse-peers").json == peers
    assert world.poll(path="/device/advertised-routes").json == {"routes": ["10.77.0.0/24"]}
    beat = world.server.ask("POST", f"/nodes/{world.node}/heartbeat", {"version": "x", "load": [1]}, token=world.token)
    assert list(beat.json) == ["last_seen", "ok"] or beat.json.keys() == {"last_seen", "ok"}
    assert world.server.ask("POST", f"/nodes/{world.node}/heartbeat", token=world.token).status == 200


def test_names(world: World) -> None:
    for path in ("/device/dns-client-config", "/device/dnsmasq.conf"):
        off = world.poll(path=path)
        assert (off.status, off.json) == (404, {"detail": "DNS is not enabled for the network"})
    settings = {"domain": "mesh.example", "enabled": True, "upstream_servers": ["9.9.9.9", "2620:fe::fe"]}
    world.server.good("alice", "PUT", f"/networks/{world.network}/dns", settings)
    told = world.poll(path="/device/dns-client-config").json
    assert told == {"domain": "mesh.example", "dns_servers": ["10.77.0.1"]}
    names = world.poll(path="/device/dnsmasq.conf")
    etag = names.headers["etag"]
    assert etag == hashlib.sha256(names.body).hexdigest() and names.headers["content-type"].startswith("text/plain")
    assert b"host-record=laptop.mesh.example,10.77.0.2\n" in names.body
    assert names.body == world.server.api("alice", "GET", f"/networks/{world.network}/dns/dnsmasq.conf").body
    for known in (etag, f'"{etag}"', f'W/"{etag}"'):
        assert world.poll(known, "/device/dnsmasq.conf").status == 304
    world.server.good(
        "alice", "POST", f"/networks/{world.network}/dns/aliases", {"alias": "files", "node_id": world.lighthouse}
    )
    assert b"files.mesh.example,10.77.0.1" in world.poll(etag, "/device/dnsmasq.conf").body


def test_a_node_without_a_certificate_has_no_configuration(world: World) -> None:
    """Its device has lost its token; only one that was made right then would get so far."""
    node = world.server.new_node("alice", world.network, "old")["node_id"]
    world.server.good("alice", "POST", f"/nodes/{node}/revoke-certificate")
    token = world.server.signer().of_device(node, 2)
    for path in ("/device/config", "/device/certs"):
        answer = world.server.ask("GET", path, token=token)
        assert (answer.status, answer.json) == (404, {"detail": "Node has no certificate"})
    assert world.server.ask("POST", f"/nodes/{node}/heartbeat", token=token).status == 200
    assert world.server.good("alice", "GET", f"/nodes/{node}")["status"] == "revoked"
