"""The endpoints of people over HTTPS: members, users, requests, grants, invitations, the audit, log-in and out."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.mesh_server import EXEMPT, MeshServer, mesh_server

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
NOTHING = {"can_manage_nodes": False, "can_invite_users": False, "can_manage_firewall": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServer]:
    config = f'{EXEMPT}[audit]\nsecret_names = ["subnet"]\n'
    with mesh_server(tmp_path_factory.mktemp("people"), config) as server:
        server.token("admin")
        yield server


def detail(server: MeshServer, who: str | None, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = server.api(who, method, path, body)
    return answer.status, answer.json["detail"]


def change_row(server: MeshServer, statement: str, *values: object) -> None:
    """Change what only time would."""
    with closing(sqlite3.connect(server.server.state / "appliance.db", timeout=30)) as connection:
        connection.execute(statement, values)
        connection.commit()


def test_who_one_is(server: MeshServer) -> None:
    me = {"authenticated": True, "sub": "ann", "email": "ann@example.test", "role": "user", "system_role": "user"}
    assert server.good("ann", "GET", "/auth/me") == me
    for token in (None, "x", "x.y.z"):
        assert server.ask("GET", "/auth/me", token=token).json == {"authenticated": False}
    given = server.ask("GET", "/auth/dev-token")
    assert given.json.keys() == {"token", "expires_in"} and given.json["expires_in"] == 86400
    dev = {"sub": "dev", "email": "dev@localhost", "role": "system-admin", "system_role": "system-admin"}
    assert server.ask("GET", "/auth/me", token=given.json["token"]).json == {"authenticated": True, **dev}
    assert server.ask("GET", "/auth/oidc-status").json == {"status": "disabled"}
    assert server.ask("GET", "").json.keys() == {"name", "version", "status"}
    assert server.ask("GET", "/health").json == {"status": "healthy"}
    analytics: dict[str, object] = {"plausible": None, "gaMeasurementId": None, "customScripts": []}
    assert server.ask("GET", "/public-config").json == {"analytics": analytics}


def test_browsers_log_in_and_out(server: MeshServer) -> None:
    gone = server.ask("GET", "/auth/login", headers={"Accept": "text/html,*/*"})
    assert gone.status == 302
    base, _, token = gone.headers["location"].partition("/auth/callback?token=")
    assert base == server.server.base and gone.headers["cache-control"] == "no-store"
    assert server.ask("GET", "/auth/me", token=token).json["sub"] == "dev"
    other = server.ask("GET", "/auth/login", headers={"Accept": "application/json"})
    assert (other.status, other.json) == (501, {"detail": "OIDC is not configured"})
    proxied = {"Accept": "text/html", "X-Forwarded-For": "192.0.2.7"}
    assert server.ask("GET", "/auth/login", headers=proxied).status == 501
    failed = server.ask("GET", "/auth/callback?code=x&state=y")
    assert (failed.status, failed.headers["location"]) == (307, f"{server.server.base}/login?error=auth_failed")
    without = server.ask("GET", "/auth/logout")
    assert (without.status, without.headers["location"]) == (307, f"{server.server.base}/")
    assert server.ask("GET", "/networks", token=token).status == 200
    for _ in range(2):
        assert server.ask("GET", "/auth/logout", token=token).status == 307
    assert server.ask("GET", "/networks", token=token).status == 401


def test_members(server: MeshServer) -> None:
    network, bob = server.new_network("alice", "members"), server.user_id("bob")
    path = f"/networks/{network}/users"
    (owner,) = server.good("alice", "GET", path)
    assert MOMENT.fullmatch(owner["created_at"])
    assert list(owner) == [
        "user_id", "email", "role", "can_manage_nodes", "can_invite_users", "can_manage_firewall",
        "invited_by_user_id", "invited_by_email", "created_at",
    ]  # fmt: skip
    added = server.good("alice", "POST", path, {"user_id": bob, "can_manage_nodes": True})
    expected = {"user_id": bob, "email": "bob@example.test", "role": "member", **NOTHING, "can_manage_nodes": True}
    assert added == {**added, **expected, "invited_by_email": "alice@example.test"}
    assert detail(server, "alice", "POST", path, {"user_id": bob}) == (
        400,
        "User is already a member of the network",
    )
    assert detail(server, "alice", "POST", path, {"user_id": 999999}) == (404, "User not found")
    changed = server.good("alice", "PATCH", f"{path}/{bob}", {"role": "owner", "can_manage_nodes": False})
    assert changed == {**added, "role": "owner", "can_manage_nodes": False}
    alice = owner["user_id"]
    assert server.good("bob", "PATCH", f"{path}/{alice}", {"role": "member"})["role"] == "member"
    last = (400, "The network must keep an owner")
    assert detail(server, "bob", "PATCH", f"{path}/{bob}", {"role": "member"}) == last
    assert detail(server, "bob", "DELETE", f"{path}/{bob}") == last
    assert server.api("bob", "DELETE", f"{path}/{alice}").status == 204
    assert server.api("alice", "GET", f"/networks/{network}").status == 404


def test_users(server: MeshServer) -> None:
    network, carl = server.new_network("carl", "carls"), server.user_id("carl")
    (row,) = [each for each in server.good("admin", "GET", "/users") if each["id"] == carl]
    assert row == {
        "id": carl,
        "oidc_sub": "carl",
        "email": "carl@example.test",
        "system_role": "user",
        "created_at": row["created_at"],
        "network_count": 1,
    }
    everything = dict.fromkeys(NOTHING, True)
    networks = [{"id": network, "name": "carls", "role": "owner", **everything}]
    assert server.good("admin", "GET", f"/users/{carl}") == {**row, "networks": networks}
    assert server.api("carl", "GET", "/users").status == 403
    promoted = server.good("admin", "PATCH", f"/users/{carl}", {"system_role": "system-admin"})
    assert promoted == {**row, "system_role": "system-admin"}
    assert server.api("carl", "GET", "/users").status == 200  # from the next request on
    assert detail(server, "admin", "PATCH", f"/users/{carl}", {"system_role": "king"}) == (
        400,
        "system_role must be user or system-admin",
    )
    server.good("admin", "PATCH", f"/users/{carl}", {"system_role": "user"})
    assert server.api("carl", "GET", "/users").status == 403
    dev = server.user_id("dev") if "dev" in server.tokens else server.good("admin", "GET", "/users")[0]["id"]
    for method, body in (("PATCH", {"system_role": "user"}), ("DELETE", None)):
        assert detail(server, "admin", method, f"/users/{dev}", body) == (409, "There must be a system admin left")
    assert detail(server, "admin", "DELETE", f"/users/{carl}") == (
        409,
        "The user is the only owner of network carls",
    )
    dora = server.user_id("dora")
    server.good("carl", "POST", f"/networks/{network}/users", {"user_id": dora})
    assert server.api("admin", "DELETE", f"/users/{dora}").status == 204
    assert detail(server, "admin", "GET", f"/users/{dora}") == (404, "User not found")
    assert [each["user_id"] for each in server.good("carl", "GET", f"/networks/{network}/users")] == [carl]
    # Who comes back is somebody else.
    assert server.user_id("dora") > dora
    assert server.good("dora", "GET", "/networks") == []


def test_requests_for_nodes(server: MeshServer) -> None:
    network = server.new_network("emil", "requests")
    body = {"network_id": network, "hostname": "wish", "groups": ["ops"], "is_relay": True}
    asked = server.good("frida", "POST", "/node-requests", body)
    assert asked == {
        "id": asked["id"],
        "network_id": network,
        "network_name": "requests",
        "requested_by_user_id": server.user_id("frida"),
        "requested_by_email": "frida@example.test",
        "hostname": "wish",
        "groups": ["ops"],
        "is_lighthouse": False,
        "is_relay": True,
        "status": "pending",
        "created_at": asked["created_at"],
        "processed_at": None,
        "rejection_reason": None,
        "created_node_id": None,
    }
    assert server.good("frida", "GET", "/node-requests") == [asked]
    assert server.good("emil", "GET", f"/node-requests?network_id={network}&status=pending") == [asked]
    assert server.good("gina", "GET", "/node-requests") == []
    path = f"/node-requests/{asked['id']}"
    approved = server.good("emil", "POST", f"{path}/approve", {})
    node = server.good("emil", "GET", f"/nodes/{approved['created_node_id']}")
    assert (node["hostname"], node["groups"], node["is_lighthouse"], node["is_relay"]) == ("wish", ["ops"], True, True)
    assert approved["status"] == "approved" and MOMENT.fullmatch(approved["processed_at"])
    for step in ("approve", "reject"):
        refused = detail(server, "emil", "POST", f"{path}/{step}", {})
        assert refused == (400, "The request is approved, not pending")
    second = server.good("frida", "POST", "/node-requests", {**body, "hostname": "no"})
    rejected = server.good("emil", "POST", f"/node-requests/{second['id']}/reject", {"reason": "why?"})
    assert (rejected["status"], rejected["rejection_reason"]) == ("rejected", "why?")
    # Who manages nodes need not ask; members need not where the owner has said so, strangers must.
    assert server.good("emil", "POST", "/node-requests", {**body, "hostname": "own"})["status"] == "approved"
    server.good("emil", "PATCH", f"/networks/{network}", {"auto_approve_nodes": True})
    assert server.good("frida", "POST", "/node-requests", {**body, "hostname": "stranger"})["status"] == "pending"
    server.good("emil", "POST", f"/networks/{network}/users", {"user_id": server.user_id("frida")})
    assert server.good("frida", "POST", "/node-requests", {**body, "hostname": "member"})["status"] == "approved"
    same = server.api("frida", "POST", "/node-requests", {**body, "hostname": "member"})
    assert same.status == 409  # and it leaves no request behind
    asked_for = [each["hostname"] for each in server.good("frida", "GET", "/node-requests")]
    assert asked_for == [
        "member",
        "stranger",
        "no",
        "wish",
    ]


def test_access_grants(server: MeshServer) -> None:
    network = server.new_network("hans", "granted")
    nodes = [server.new_node("hans", network, name)["node_id"] for name in ("a", "b")]
    support = server.user_id("support")
    body = {"admin_user_id": support, "resource_type": "network", "resource_id": network, "reason": "a ticket"}
    assert detail(server, "hans", "POST", "/access-grants", body) == (400, "The user is not a system admin")
    server.good("admin", "PATCH", f"/users/{support}", {"system_role": "system-admin"})
    bad = detail(server, "hans", "POST", "/access-grants", {**body, "resource_type": "planet"})
    assert bad == (400, "resource_type must be network or node")
    of_node = {**body, "resource_type": "node", "resource_id": nodes[0], "duration_hours": 1}
    grant = server.good("hans", "POST", "/access-grants", of_node)
    assert grant == {
        "id": grant["id"],
        "admin_user_id": support,
        "admin_email": "support@example.test",
        "resource_type": "node",
        "resource_id": nodes[0],
        "resource_name": "a",
        "granted_by_user_id": server.user_id("hans"),
        "granted_by_email": "hans@example.test",
        "expires_at": grant["expires_at"],
        "created_at": grant["created_at"],
        "revoked_at": None,
        "reason": "a ticket",
    }
    assert [server.api("support", "GET", f"/nodes/{node}").status for node in nodes] == [200, 404]
    another = server.new_network("hans", "not granted")
    elsewhere = server.new_node("hans", another, "c")["node_id"]
    for path in (f"/nodes?network_id={network}", "/nodes"):
        assert [each["id"] for each in server.good("support", "GET", path)] == nodes[:1]
    assert server.api("support", "GET", f"/nodes?network_id={another}").status == 403
    assert server.good("support", "GET", f"/networks/{network}")["ca_cert_path"] is None
    whole = server.good("hans", "POST", "/access-grants", body)
    assert [each["id"] for each in server.good("support", "GET", f"/nodes?network_id={network}")] == nodes
    assert [each["id"] for each in server.good("support", "GET", "/nodes")] == nodes
    assert server.good("support", "GET", f"/networks/{network}")["ca_cert_path"] is not None
    # To look, and no more.
    for method, path in (("PATCH", ""), ("POST", "/revoke-certificate"), ("GET", "/config"), ("DELETE", "")):
        change: object = {} if method == "PATCH" else None
        assert server.api("support", method, f"/nodes/{nodes[0]}{path}", change).status == 403, path
    for who in ("hans", "support"):
        assert [each["id"] for each in server.good(who, "GET", "/access-grants")] == [whole["id"], grant["id"]]
    assert server.good("gina", "GET", "/access-grants") == []
    assert server.api("hans", "DELETE", f"/access-grants/{whole['id']}").status == 204
    assert server.api("support", "GET", f"/nodes/{nodes[1]}").status == 404
    change_row(server, "UPDATE mesh_access_grants SET expires_at = 1 WHERE id = ?", grant["id"])
    assert server.api("support", "GET", f"/nodes/{nodes[0]}").status == 404
    assert server.api("support", "GET", f"/nodes?network_id={network}").status == 403
    assert server.good("support", "GET", "/nodes") == []
    assert [each["id"] for each in server.good("hans", "GET", "/nodes")] == [*nodes, elsewhere]
    assert server.good("support", "GET", "/access-grants") == []
    every = server.good("hans", "GET", "/access-grants?active_only=false")
    assert [each["revoked_at"] is None for each in every] == [False, True]


def test_invitations(server: MeshServer) -> None:
    network = server.new_network("ines", "invited")
    body = {"email": "Jan@Example.test", "network_id": network, "can_manage_nodes": True}
    made = server.good("ines", "POST", "/invitations", body)
    assert made == {
        "id": made["id"],
        "email": "jan@example.test",
        "network_id": network,
        "network_name": "invited",
        "invited_by_user_id": server.user_id("ines"),
        "invited_by_email": "ines@example.test",
        "token": made["token"],
        "role": "member",
        **NOTHING,
        "can_manage_nodes": True,
        "status": "pending",
        "expires_at": made["expires_at"],
        "accepted_at": None,
        "created_at": made["created_at"],
        "email_status": "not_sent",
        "email_sent_at": None,
        "email_error": None,
    }
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", made["token"])
    assert server.good("ines", "GET", f"/invitations?network_id={network}&status_filter=pending") == [made]
    assert server.good("jan", "GET", "/invitations") == []
    assert server.good("ines", "POST", f"/invitations/{made['id']}/resend") == made
    public = server.ask("GET", f"/invitations/public/{made['token']}").json
    names = ("email", "network_name", "invited_by_email", "role", *NOTHING, "status", "expires_at")
    assert public == {name: made[name] for name in names}
    assert detail(server, None, "GET", "/invitations/public/x") == (404, "Invitation not found")
    again = detail(server, "ines", "POST", "/invitations", body)
    assert again == (400, "A pending invitation for this address exists already")
    path = f"/invitations/{made['token']}"
    assert detail(server, "gina", "POST", f"{path}/accept") == (400, "The invitation was sent to another address")
    assert server.good("jan", "POST", f"{path}/accept").keys() == {"message"}
    (listed,) = server.good("jan", "GET", "/networks")
    assert (listed["role"], listed["can_manage_nodes"], listed["can_invite_users"]) == ("member", True, False)
    assert detail(server, "jan", "POST", f"{path}/accept") == (400, "Invitation is accepted")
    member = detail(server, "ines", "POST", "/invitations", body)
    assert member == (400, "User is already a member of the network")
    accepted = server.good("ines", "GET", "/invitations")[0]
    assert accepted["status"] == "accepted" and MOMENT.fullmatch(accepted["accepted_at"])

    # What has ended, one way or the other.
    late = server.good("ines", "POST", "/invitations", {**body, "email": "late@example.test"})
    change_row(server, "UPDATE mesh_invitations SET expires_at = 1 WHERE id = ?", late["id"])
    for who, method, tail in ((None, "GET", f"public/{late['token']}"), ("late", "POST", f"{late['token']}/accept")):
        assert detail(server, who, method, f"/invitations/{tail}") == (410, "Invitation has expired")
    assert detail(server, "ines", "POST", f"/invitations/{late['id']}/resend") == (
        400,
        "The invitation is expired, not pending",
    )
    taken_back = server.good("ines", "POST", "/invitations", {**body, "email": "late@example.test"})
    assert server.api("ines", "DELETE", f"/invitations/{taken_back['id']}").status == 204
    for who, method, tail in (
        (None, "GET", f"public/{taken_back['token']}"),
        ("late", "POST", f"{taken_back['token']}/accept"),
    ):
        assert detail(server, who, method, f"/invitations/{tail}") == (400, "Invitation is revoked")
    states = [each["status"] for each in server.good("ines", "GET", "/invitations")]
    assert states == ["revoked", "expired", "accepted"]
    assert made["token"] not in server.server.log.read_text()


def test_only_owners_make_owners(server: MeshServer) -> None:
    network, kurt = server.new_network("lena", "owners"), server.user_id("kurt")
    server.good("lena", "POST", f"/networks/{network}/users", {"user_id": kurt, "can_invite_users": True})
    invitation = {"email": "max@example.test", "network_id": network, "role": "owner"}
    for who in ("kurt", "admin"):
        refused = detail(server, who, "POST", "/invitations", invitation)
        assert refused == (403, "Only an owner may invite owners")
    owner = {"user_id": server.user_id("max"), "role": "owner"}
    assert detail(server, "kurt", "POST", f"/networks/{network}/users", owner)[0] == 403
    assert server.good("lena", "POST", "/invitations", invitation)["role"] == "owner"


def test_the_audit(server: MeshServer) -> None:
    network = server.new_network("nora", "audited", "10.99.0.0/24")
    (entry,) = server.good("admin", "GET", "/audit?limit=1")
    assert entry == {
        "id": entry["id"],
        "occurred_at": entry["occurred_at"],
        "action": "network_created",
        "actor_user_id": server.user_id("nora"),
        "actor_identifier": "nora",
        "actor_email": "nora@example.test",
        "resource_type": "network",
        "resource_id": network,
        "result": "success",
        "details": entry["details"],
        "client_ip": "127.0.0.1",
    }
    assert json.loads(entry["details"]) == {"name": "audited", "subnet_cidr": "***"}  # as the settings say
    node = server.new_node("nora", network, "one")["node_id"]
    server.good("nora", "PATCH", f"/networks/{network}", {"name": "audited2"})
    server.good("nora", "PUT", f"/networks/{network}/group-firewall/g", {"inbound_rules": []})
    server.good("nora", "DELETE", f"/networks/{network}/group-firewall/g")
    server.api("nora", "GET", f"/nodes/{node}/config")
    server.api("nora", "GET", f"/nodes/{node}/certs")
    server.enroll("nora", node)
    server.ask("POST", "/device/enroll", {"code": "A" * 16})
    server.good("nora", "PATCH", f"/nodes/{node}", {"group": "x"})
    server.good("nora", "POST", f"/nodes/{node}/re-enroll")
    server.good("nora", "POST", f"/nodes/{node}/revoke-certificate")
    begin = entry["occurred_at"]
    found = server.good("admin", "GET", f"/audit?limit=200&from_date={begin}")
    actions = [each["action"] for each in reversed(found)]
    assert actions == [
        "network_created", "node_created", "cert_signed", "network_updated", "network_group_firewall_updated",
        "network_group_firewall_deleted", "node_config_downloaded", "node_certs_downloaded",
        "enrollment_code_created", "device_enroll_success", "device_enroll_failure", "node_updated",
        "node_reenrolled", "cert_revoked",
    ]  # fmt: skip
    (failure,) = [each for each in found if each["action"] == "device_enroll_failure"]
    assert (failure["result"], failure["actor_user_id"], failure["client_ip"]) == ("failure", None, "127.0.0.1")
    ids = [each["id"] for each in found]
    assert ids == sorted(ids, reverse=True)
    assert [e["id"] for e in server.good("admin", "GET", f"/audit?limit=2&offset=1&from_date={begin}")] == ids[1:3]
    of_kind = server.good("admin", "GET", f"/audit?action=node_updated&resource_type=node&from_date={begin}Z")
    assert [each["action"] for each in of_kind] == ["node_updated"]
    assert server.good("admin", "GET", f"/audit?to_date={begin}&limit=1")[0]["id"] == entry["id"]
    assert server.good("admin", "GET", "/audit?from_date=2100-01-01") == []
    assert server.good("admin", "GET", "/audit?action=none") == []
    for query in ("limit=0", "limit=201", "limit=x", "offset=-1", "from_date=x", "to_date=99999-01-01"):
        assert server.api("admin", "GET", f"/audit?{query}").status == 422, query
    assert server.good("admin", "GET", "/audit?from_date=0001-01-01&to_date=9999-12-31T23:59:59&limit=1")
