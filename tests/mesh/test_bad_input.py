"""Hostile and mistaken input: a 4xx in the mesh's own form that names the field, and nothing changed."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.mesh.certificates import pem
from tests.support.mesh_server import MeshServer, mesh_server

LONG = "x" * 300
HUGE = 10**30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServer]:
    with mesh_server(tmp_path_factory.mktemp("bad")) as server:
        network = server.new_network("alice", "office")
        server.new_node("alice", network, "lighthouse")
        yield server


def keys(server: MeshServer) -> str:
    """What must not change: the CA and its key."""
    with closing(sqlite3.connect(server.server.state / "appliance.db")) as connection:
        rows = connection.execute(
            "SELECT certificate, key_sealed FROM mesh_authorities WHERE network_id = 1"
        ).fetchall()
    master = (server.server.state / "mesh" / "master.key").read_bytes()
    return hashlib.sha256(repr((rows, master)).encode()).hexdigest()


def refused(server: MeshServer, method: str, path: str, body: object, *field: object, status: int = 422) -> None:
    """Refused for that field, and nothing else has happened."""
    before = keys(server), server.good("alice", "GET", "/networks"), server.good("alice", "GET", "/nodes")
    answer = server.api("alice", method, path, body)
    assert answer.status == status, (path, body, answer)
    if status == 422:
        (mistake,) = answer.json["detail"]
        assert mistake.keys() == {"type", "loc", "msg", "input"}
        if field:
            assert mistake["loc"] == list(field), (body, answer.body)
        assert mistake["msg"]
    else:
        assert isinstance(answer.json["detail"], str)
    assert (keys(server), server.good("alice", "GET", "/networks"), server.good("alice", "GET", "/nodes")) == before


@pytest.mark.parametrize(
    "name",
    ["", "../ca", "a/b", "a\\b", "a\0b", "a\nb", "a\n", ".", "..", "-x", "a'b", 'a"b', LONG, "é" * 300, 1, None, []],
)
def test_names_of_networks(server: MeshServer, name: object) -> None:
    refused(server, "POST", "/networks", {"name": name, "subnet_cidr": "10.1.0.0/24"}, "body", "name")
    if name is not None:
        refused(server, "PATCH", "/networks/1", {"name": name}, "body", "name")


@pytest.mark.parametrize(
    "subnet",
    ["", "x", "10.0.0.0", "10.0.0.1/24", "0.0.0.0/0", "10.0.0.0/7", "10.0.0.0/31", "10.0.0.0/32", "10.0.0.0/33",
     "10.0.0.0/-1", "10.0.0.0/x", "fd00::/64", "fd00::/200", "10.0.0.0/255.255.255.0/24", "1" * 64, 5, None],
)  # fmt: skip
def test_subnets(server: MeshServer, subnet: object) -> None:
    refused(server, "POST", "/networks", {"name": "new", "subnet_cidr": subnet}, "body", "subnet_cidr")


@pytest.mark.parametrize("version", [0, 3, "1", True, None, 1.5])
def test_versions_of_certificates(server: MeshServer, version: object) -> None:
    body = {"name": "new", "subnet_cidr": "10.1.0.0/24", "certificate_version": version}
    refused(server, "POST", "/networks", body, "body", "certificate_version")


def test_a_network_that_overlaps(server: MeshServer) -> None:
    refused(server, "POST", "/networks", {"name": "new", "subnet_cidr": "10.77.0.0/25"}, status=409)
    refused(server, "POST", "/networks", {"name": "office", "subnet_cidr": "10.1.0.0/25"}, status=409)


@pytest.mark.parametrize(
    "name", ["", "../ca", "a/b", "a b", "a\0", "-a", "a-", ".a", "_a", "ü", LONG, "a\n", "$(id)", "--help", 1, None]
)
def test_names_of_nodes(server: MeshServer, name: object) -> None:
    for path, more in (("create", {}), ("sign", {"public_key": "x"})):
        refused(server, "POST", f"/certificates/{path}", {"network_id": 1, "name": name, **more}, "body", "name")
    refused(server, "POST", "/node-requests", {"network_id": 1, "hostname": name}, "body", "hostname")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("group", "a,b"),
        ("group", "a b"),
        ("group", "a\nb"),
        ("group", "a\n"),
        ("group", "\n"),
        ("group", LONG),
        ("group", ["a"]),
        ("suggested_ip", "10.77.1.1"),
        ("suggested_ip", "10.77.0.0"),
        ("suggested_ip", "10.77.0.255"),
        ("suggested_ip", "fd00::1"),
        ("suggested_ip", "x"),
        ("suggested_ip", LONG),
        ("duration_days", 0),
        ("duration_days", -1),
        ("duration_days", 731),
        ("duration_days", 36501),
        ("duration_days", HUGE),
        ("duration_days", "1"),
        ("is_lighthouse", "yes"),
        ("is_relay", 1),
        ("public_endpoint", "x"),
        ("public_endpoint", "x:0"),
        ("public_endpoint", "x:65536"),
        ("public_endpoint", "x:٣"),
        ("public_endpoint", ":4242"),
        ("public_endpoint", "a b:1"),
        ("public_endpoint", "[::1:4242"),
        ("public_endpoint", "::1:4242"),
        ("public_endpoint", "999.1.1.1:4242"),
        ("public_endpoint", "x:1\npki: {}"),
        ("public_endpoint", LONG + ":1"),
        ("network_id", HUGE),
        ("network_id", 0),
        ("network_id", -1),
        ("network_id", "1"),
        ("network_id", None),
    ],
)
def test_fields_of_certificates(server: MeshServer, field: str, value: object) -> None:
    body = {"network_id": 1, "name": "new", field: value}
    refused(server, "POST", "/certificates/create", body, "body", field)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"lighthouse_options": {"interval_seconds": 0}}, ("lighthouse_options", "interval_seconds")),
        ({"lighthouse_options": {"dns_port": 70000}}, ("lighthouse_options", "dns_port")),
        ({"lighthouse_options": {"dns_host": "a\nb"}}, ("lighthouse_options", "dns_host")),
        ({"lighthouse_options": []}, ("lighthouse_options",)),
        ({"logging_options": {"level": "loud"}}, ("logging_options", "level")),
        ({"logging_options": {"format": "xml"}}, ("logging_options", "format")),
        ({"punchy_options": {"delay": "1"}}, ("punchy_options", "delay")),
        ({"punchy_options": {"delay": "-1s"}}, ("punchy_options", "delay")),
        ({"punchy_options": {"respond_delay": "1s; rm"}}, ("punchy_options", "respond_delay")),
        ({"group": "a/b"}, ("group",)),
        ({"public_endpoint": "nowhere"}, ("public_endpoint",)),
    ],
)
def test_changes_of_nodes(server: MeshServer, body: object, place: tuple[str, ...]) -> None:
    refused(server, "PATCH", "/nodes/1", body, "body", *place)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        pem.encode(pem.X25519_PUBLIC_KEY, b"x" * 31),
        pem.encode(pem.X25519_PUBLIC_KEY, bytes(32)),
        pem.encode(pem.X25519_PRIVATE_KEY, b"x" * 32),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "x" * 5000,
        None,
    ],
    ids=lambda key: repr(key)[:40],
)
def test_public_keys(server: MeshServer, key: object) -> None:
    body = {"network_id": 1, "name": "new", "public_key": key}
    refused(server, "POST", "/certificates/sign", body, "body", "public_key")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"port_range": "0"}, "port_range"),
        ({"port_range": "65536"}, "port_range"),
        ({"port_range": "80-22"}, "port_range"),
        ({"port_range": "22,"}, "port_range"),
        ({"port_range": "22-"}, "port_range"),
        ({"port_range": "http"}, "port_range"),
        ({"port_range": "1" * 300}, "port_range"),
        ({"port_range": "22;80"}, "port_range"),
        ({"port_range": 22}, "port_range"),
        ({"protocol": "sctp"}, "protocol"),
        ({"protocol": "TCP"}, "protocol"),
        ({"allowed_group": ""}, "allowed_group"),
        ({"allowed_group": "a,b"}, "allowed_group"),
        ({"allowed_group": "a\n"}, "allowed_group"),
        ({"allowed_group": LONG}, "allowed_group"),
        ({"description": "x" * 2000}, "description"),
    ],
    ids=str,
)
def test_rules(server: MeshServer, rule: dict[str, Any], field: str) -> None:
    good = {"allowed_group": "any", "protocol": "tcp", "port_range": "22"}
    body = {"inbound_rules": [good, {**good, **rule}]}
    refused(server, "PUT", "/networks/1/group-firewall/staff", body, "body", "inbound_rules", 1, field)
    assert server.good("alice", "GET", "/networks/1/group-firewall") == []


@pytest.mark.parametrize("group", ["a%20b", "a%2Cb", "-a", "..", "a%27b", "x" * 300, "a%00b", "%ff"])
def test_groups_in_paths(server: MeshServer, group: str) -> None:
    answer = server.api("alice", "PUT", f"/networks/1/group-firewall/{group}", {"inbound_rules": []})
    assert answer.status in (400, 404, 422)
    assert server.good("alice", "GET", "/networks/1/group-firewall") == []


@pytest.mark.parametrize("id", ["0", "-1", "x", "1.0", "99999999999", str(HUGE), "1%2F2", "%00", "", "2147483647"])
@pytest.mark.parametrize(
    "path", ["/networks/{}", "/nodes/{}", "/networks/{}/users", "/nodes/{}/config", "/networks/{}/dns", "/users/{}"]
)
def test_ids_in_paths(server: MeshServer, path: str, id: str) -> None:
    answer = server.api("admin", "GET", path.format(id))
    assert answer.status == (400 if id == "%00" else 404) or (id == "" and answer.status == 200), answer
    if answer.status == 404:
        assert answer.json["detail"] in ("Not Found", "Network not found", "Node not found", "User not found")


@pytest.mark.parametrize(
    "query",
    ["network_id=x", "network_id=0", f"network_id={HUGE}", "network_id=-1", "network_id=", "network_id=%ff"],
)
def test_ids_in_queries(server: MeshServer, query: str) -> None:
    for path in ("/nodes", "/certificates", "/node-requests", "/invitations"):
        assert server.api("alice", "GET", f"{path}?{query}").status in (400, 422)


@pytest.mark.parametrize("ip", ["x", "10.77.0.0", "10.77.0.255", "10.78.0.1", "fd00::1", "", "10.77.0.1/24"])
def test_addresses_that_no_node_can_have(server: MeshServer, ip: str) -> None:
    assert server.api("alice", "GET", f"/networks/1/check-ip?ip={ip}").status == 400
    assert server.api("alice", "GET", "/networks/1/check-ip").status == 422


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "offset=-1", f"offset={HUGE}", "from_date=x", "to_date=9999999"]
)
def test_queries_of_the_audit(server: MeshServer, query: str) -> None:
    answer = server.api("admin", "GET", f"/audit?{query}")
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"][-1] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "x", "network_id": 1}, "email"),
        ({"email": "a@b\nBcc: c@d", "network_id": 1}, "email"),
        ({"email": "a b@c", "network_id": 1}, "email"),
        ({"email": "a@b\n", "network_id": 1}, "email"),
        ({"email": "a@b,c@d", "network_id": 1}, "email"),
        ({"email": f"{LONG}@b", "network_id": 1}, "email"),
        ({"email": "a@b", "network_id": 1, "role": "king"}, "role"),
        ({"email": "a@b", "network_id": 1, "expires_in_days": 0}, "expires_in_days"),
    ],
)
def test_invitations(server: MeshServer, body: object, field: str) -> None:
    refused(server, "POST", "/invitations", body, "body", field)
    assert server.good("alice", "GET", "/invitations") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"domain": "a b"}, "domain"),
        ({"domain": "a\nserver=/x/"}, "domain"),
        ({"domain": LONG}, "domain"),
        ({"domain": "mesh.example\n"}, "domain"),
        ({"upstream_servers": ["x"]}, "upstream_servers"),
        ({"upstream_servers": ["1.1.1.1#53\nconf-file=/x"]}, "upstream_servers"),
        ({"enabled": True}, "domain"),
    ],
)
def test_dns(server: MeshServer, body: object, field: str) -> None:
    answer = server.api("alice", "PUT", "/networks/1/dns", body)
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"][1] == field
    assert server.good("alice", "GET", "/networks/1/dns")["enabled"] is False


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"1", b'"x"', b"[" * 50_000])
def test_bodies_that_are_none(server: MeshServer, body: bytes) -> None:
    for path in ("/networks", "/certificates/create", "/device/enrollment-codes", "/invitations"):
        answer = server.ask("POST", path, body, token=server.token("alice"))
        assert answer.status == 422
        assert answer.json["detail"][0]["loc"][0] == "body"
    assert server.ask("POST", "/device/enroll", body).status == 422


def test_a_body_of_five_megabytes(server: MeshServer) -> None:
    body = b'{"name":"' + b"x" * (5 << 20) + b'","subnet_cidr":"10.0.0.0/8"}'
    answer = server.ask("POST", "/networks", body, token=server.token("alice"))
    server.disconnect()
    assert answer.status == 413
    assert isinstance(answer.json["detail"], str)


def test_other_methods_and_paths(server: MeshServer) -> None:
    answer = server.api("alice", "PUT", "/networks")
    assert (answer.status, answer.json) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == "GET, POST"
    assert server.ask("GET", "/networks/1/nothing").json["detail"] == "Not Found"


def test_hostile_codes(server: MeshServer, tmp_path: Path) -> None:
    for code, status in (("", 400), ("  ", 400), ("x" * 16, 404), ("A" * 16, 404), ("'; DROP", 404), ("é" * 16, 404)):
        answer = server.ask("POST", "/device/enroll", {"code": code})
        assert answer.status == status, code
        assert isinstance(answer.json["detail"], str)
    assert server.ask("POST", "/device/enroll", {"code": "a\0b"}).status == 422
    assert server.ask("POST", "/device/enroll", {"code": "x" * 2000}).status == 422
