"""The endpoints of networks over HTTPS: what they answer, exactly."""

import re
from collections.abc import Iterator

import pytest

from tests.support.mesh_server import MeshServer, mesh_server

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServer]:
    with mesh_server(tmp_path_factory.mktemp("networks")) as server:
        yield server


def reauth(server: MeshServer, who: str = "admin") -> str:
    """A token for what cannot be undone, as a browser without OIDC would get it."""
    challenge = server.good(who, "POST", "/auth/reauth/challenge")
    assert challenge["reauth_url"].endswith(f"/auth/reauth/complete?challenge={challenge['challenge']}")
    answer = server.ask("GET", f"/auth/reauth/callback?challenge={challenge['challenge']}")
    assert answer.status == 307
    return answer.headers["location"].partition("/reauth/complete?token=")[2]


def test_a_network_is_made_seen_and_changed(server: MeshServer) -> None:
    made = server.api("alice", "POST", "/networks", {"name": "Büro 1", "subnet_cidr": "10.1.0.0/24"})
    assert made.status == 200
    network = made.json
    assert list(network) == ["id", "name", "subnet_cidr", "ca_cert_path", "created_at"]
    assert (network["name"], network["subnet_cidr"]) == ("Büro 1", "10.1.0.0/24")
    assert network["ca_cert_path"] and MOMENT.fullmatch(network["created_at"])
    path = f"/networks/{network['id']}"
    assert server.good("alice", "GET", path) == network
    everything = {"role": "owner", "can_manage_nodes": True, "can_invite_users": True, "can_manage_firewall": True}
    assert server.good("alice", "GET", "/networks") == [{**network, **everything}]
    nothing = {"role": "admin", "can_manage_nodes": False, "can_invite_users": False, "can_manage_firewall": False}
    (seen,) = [each for each in server.good("admin", "GET", "/networks") if each["id"] == network["id"]]
    assert seen == {**network, "ca_cert_path": None, **nothing}
    assert server.good("admin", "GET", path) == {**network, "ca_cert_path": None}
    changed = server.good("alice", "PATCH", path, {"name": "office", "auto_approve_nodes": True})
    assert changed == {**network, "name": "office"}
    assert server.good("alice", "PATCH", path, {"name": "office"}) == changed
    assert server.good("alice", "PATCH", path, {"name": None}) == changed
    server.new_network("alice", "branch", "10.2.0.0/24")
    taken = server.api("alice", "PATCH", path, {"name": "branch"})
    assert (taken.status, taken.json) == (409, {"detail": "A network with this name already exists"})
    assert [each["name"] for each in server.good("alice", "GET", "/networks")] == ["office", "branch"]


def test_overlapping_networks(server: MeshServer) -> None:
    server.new_network("olga", "first", "10.50.0.0/16")
    body = {"name": "second", "subnet_cidr": "10.50.7.0/24"}
    assert server.api("olga", "POST", "/networks", body).status == 409
    assert server.api("olga", "POST", "/networks", {**body, "allow_overlap": True}).status == 200
    assert server.api("petra", "POST", "/networks", {**body, "name": "another's"}).status == 422  # an apostrophe
    assert server.api("petra", "POST", "/networks", {**body, "name": "others"}).status == 200
    six = {"name": "six", "subnet_cidr": "fd00::/64", "certificate_version": 2}
    assert server.good("olga", "POST", "/networks", six)["subnet_cidr"] == "fd00::/64"


def test_addresses_that_are_free(server: MeshServer) -> None:
    network = server.new_network("ida", "addresses", "10.3.0.0/24")
    server.new_node("ida", network, "one", suggested_ip="10.3.0.9")
    for address, expected in {"10.3.0.9": False, "10.3.0.10": True, "10.3.0.1": True, "10.3.0.254": True}.items():
        assert server.good("ida", "GET", f"/networks/{network}/check-ip?ip={address}") == {"available": expected}
    for address in ("10.3.0.0", "10.3.0.255", "10.3.1.1", "x", "", "fd00::1", "%C3%BC", "10.3.0.1%2F24"):
        answer = server.api("ida", "GET", f"/networks/{network}/check-ip?ip={address}")
        assert answer.status == 400 and isinstance(answer.json["detail"], str), address
    assert server.api("ida", "GET", f"/networks/{network}/check-ip").status == 422


def test_rules_of_groups(server: MeshServer) -> None:
    network = server.new_network("fred", "rules", "10.4.0.0/24")
    path = f"/networks/{network}/group-firewall"
    assert server.good("fred", "GET", path) == []
    rules: list[dict[str, object]] = [
        {"allowed_group": "ops", "protocol": "tcp", "port_range": "22, 8000-8100", "description": "shell"},
        {"allowed_group": "any", "protocol": "icmp", "port_range": "any", "description": None},
    ]
    short = {name: value for name, value in rules[1].items() if name != "description"}
    given = {"inbound_rules": [rules[0], short]}
    expected = {"group_name": "servers", "inbound_rules": rules}
    assert server.good("fred", "PUT", f"{path}/servers", given) == expected
    assert server.good("fred", "PUT", f"{path}/b%C3%BCro", {"inbound_rules": []}) == {
        "group_name": "büro",
        "inbound_rules": [],
    }
    assert server.good("fred", "GET", path)[1:] == [expected]
    removed = server.api("fred", "DELETE", f"{path}/servers")
    assert (removed.status, removed.body) == (204, b"")
    again = server.api("fred", "DELETE", f"{path}/servers")
    assert (again.status, again.json) == (404, {"detail": "Group firewall not found"})


def test_names_of_hosts(server: MeshServer) -> None:
    network = server.new_network("dora", "names", "10.5.0.0/24")
    node = server.new_node("dora", network, "gate")["node_id"]
    path = f"/networks/{network}/dns"
    assert server.good("dora", "GET", path) == {"domain": None, "enabled": False, "upstream_servers": []}
    off = server.api("dora", "GET", f"{path}/dnsmasq.conf")
    assert (off.status, off.json) == (404, {"detail": "DNS is not enabled for the network"})
    assert server.api("dora", "PUT", path, {"enabled": True}).status == 422
    wanted = {"domain": "mesh.example", "enabled": True, "upstream_servers": ["9.9.9.9"]}
    assert server.good("dora", "PUT", path, wanted) == wanted
    made = server.api("dora", "POST", f"{path}/aliases", {"alias": "vpn", "node_id": node})
    alias = made.json
    assert (made.status, alias) == (201, {"id": alias["id"], "alias": "vpn", "node_id": node, "node_hostname": "gate"})
    for name in ("VPN", "gate"):
        assert server.api("dora", "POST", f"{path}/aliases", {"alias": name, "node_id": node}).status == 409
    assert server.api("dora", "POST", f"{path}/aliases", {"alias": "x", "node_id": 999999}).status == 404
    assert server.good("dora", "GET", f"{path}/aliases") == [alias]
    shown = server.api("dora", "GET", f"{path}/dnsmasq.conf")
    assert shown.headers["content-type"].startswith("text/plain")
    lines = shown.body.decode().splitlines()
    assert {"server=9.9.9.9", "host-record=gate.mesh.example,10.5.0.1", "host-record=vpn.mesh.example,10.5.0.1"} <= {
        *lines
    }
    assert server.api("dora", "DELETE", f"{path}/aliases/{alias['id']}").status == 204
    assert server.api("dora", "DELETE", f"{path}/aliases/{alias['id']}").status == 404


def test_a_network_is_removed_with_all_there_is_of_it(server: MeshServer) -> None:
    network = server.new_network("admin", "doomed", "10.6.0.0/16")
    path = f"/networks/{network}"
    for number in range(40):
        server.new_node("admin", network, f"node{number}")
    token = server.enroll("admin", server.good("admin", "GET", f"/nodes?network_id={network}")[0]["id"])
    server.good("admin", "POST", "/invitations", {"network_id": network, "email": "x@example.test"})
    for body, words in {
        "": "Reauthentication required",
        "x": "Invalid or expired reauthentication",
        server.token("admin"): "Invalid or expired reauthentication",
    }.items():
        refused = server.api("admin", "DELETE", path, {"reauth_token": body, "confirmation": "doomed"})
        assert (refused.status, refused.json) == (403, {"detail": words})
    opened = reauth(server)
    assert server.ask("GET", "/networks", token=opened).status == 401
    wrong = server.api("admin", "DELETE", path, {"reauth_token": opened, "confirmation": "Doomed"})
    assert (wrong.status, wrong.json) == (400, {"detail": "Confirmation does not match network name"})
    gone = server.api("admin", "DELETE", path, {"reauth_token": opened, "confirmation": "doomed"})
    assert (gone.status, gone.body) == (204, b"")
    assert server.api("admin", "GET", path).json == {"detail": "Network not found"}
    assert server.good("admin", "GET", "/nodes") == [] == server.good("admin", "GET", "/certificates")
    assert server.ask("GET", "/device/config", token=token).status == 401
    # What it opened it opened once; and the next network can have the same name and addresses.
    network = server.new_network("admin", "doomed", "10.6.0.0/16")
    used = server.api("admin", "DELETE", f"/networks/{network}", {"reauth_token": opened, "confirmation": "doomed"})
    assert used.status == 403
    assert server.new_node("admin", network, "node0")["ip_address"] == "10.6.0.1"


def test_a_challenge_that_is_not_the_developers_completes_nothing(server: MeshServer) -> None:
    challenge = server.good("alice", "POST", "/auth/reauth/challenge")["challenge"]
    for query in (f"challenge={challenge}", f"state={challenge}", "challenge=x", ""):
        answer = server.ask("GET", f"/auth/reauth/callback?{query}")
        assert answer.headers["location"].endswith("/reauth/complete?error=reauth_failed")
