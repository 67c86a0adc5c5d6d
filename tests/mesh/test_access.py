"""Who may do what: every endpoint, asked by everybody. What the table does not name fails the test."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from appliance.mesh.certificates import pem
from appliance.mesh.certificates.keys import new_host_key
from tests.support.mesh_server import MeshAnswer, MeshServer, mesh_server

DENIED = "Permission denied"
MEMBERS = ("member", "nodes", "invite", "firewall")
USERS = ("stranger", *MEMBERS, "owner", "admin", "granted")
CALLERS = ("nobody", *USERS, "device", "other device")


def rule(**allowed: object) -> Mapping[str, object]:
    """What each caller gets: `ok`, or the status of the refusal; `users` stands for all of them, `*` for everybody."""
    found: dict[str, object] = dict.fromkeys(CALLERS, allowed.pop("everybody", 401))
    users = allowed.pop("users", None)
    if users is not None:
        found.update(dict.fromkeys(USERS, users))
    members = allowed.pop("members", None)
    if members is not None:
        found.update(dict.fromkeys(MEMBERS, members))
    for name, expected in allowed.items():
        found[name.replace("_", " ")] = expected
    assert found.keys() == set(CALLERS)
    return found


PUBLIC = rule(everybody="ok")
USER = rule(users="ok")
ADMIN = rule(users=403, admin="ok", granted="ok")
DEVICE = rule(device="ok", other_device="ok")
MEMBER_OR_ADMIN = rule(users="ok", stranger=404)
OWNER = rule(users=403, stranger=404, owner="ok")
OWNER_OR_ADMIN = rule(users=403, stranger=404, owner="ok", admin="ok", granted="ok")
NODES = rule(users=403, stranger=404, owner="ok", nodes="ok")
NODES_OR_ADMIN = rule(users=403, stranger=404, owner="ok", nodes="ok", admin="ok", granted="ok")
FIREWALL = rule(users=403, stranger=404, owner="ok", firewall="ok")
FIREWALL_OR_ADMIN = rule(users=403, stranger=404, owner="ok", firewall="ok", admin="ok", granted="ok")
INVITE = rule(users=403, stranger=404, owner="ok", invite="ok")
INVITE_OR_ADMIN = rule(users=403, stranger=404, owner="ok", invite="ok", admin="ok", granted="ok")
SEES_NODES = rule(users="ok", stranger=404, admin=404)
SEES_NETWORKS_NODES = rule(users="ok", stranger=404, admin=403)
MANAGES_NODE = rule(users=403, stranger=404, admin=404, owner="ok", nodes="ok")
HEARTBEAT = rule(users=403, stranger=404, admin=404, owner="ok", nodes="ok", device="ok", other_device=404)


@dataclass(frozen=True)
class Case:
    """A request, and whom it is for. `good` are the statuses of those who may: with what is sent nothing is lost."""

    method: str
    path: str
    rule: Mapping[str, object]
    body: object = None
    good: tuple[int, ...] = (200,)


@dataclass
class World:
    """A network, its nodes, and a token for everybody."""

    server: MeshServer
    tokens: dict[str, str]
    network: int
    node: int
    users: dict[str, int]
    request: int
    grant: int
    invitation: int
    invitation_token: str
    alias: int

    def path(self, template: str) -> str:
        return template.format(
            network=self.network,
            node=self.node,
            member=self.users["member"],
            request=self.request,
            grant=self.grant,
            invitation=self.invitation,
            token=self.invitation_token,
            alias=self.alias,
        )

    def ask(self, caller: str, case: Case) -> MeshAnswer:
        body = case.body(self) if callable(case.body) else case.body
        return self.server.ask(case.method, self.path(case.path), body, token=self.tokens.get(caller))


def with_network(**fields: object) -> Callable[[World], object]:
    return lambda world: {"network_id": world.network, **fields}


N, D = "/networks/{network}", "/nodes/{node}"
KEY = pem.encode(pem.X25519_PUBLIC_KEY, new_host_key().public)
CASES = [
    Case("GET", "", PUBLIC),
    Case("GET", "/health", PUBLIC),
    Case("GET", "/public-config", PUBLIC),
    Case("GET", "/auth/dev-token", PUBLIC),
    Case("GET", "/auth/me", PUBLIC),
    Case("GET", "/auth/login", PUBLIC, good=(501,)),
    Case("GET", "/auth/oidc-status", PUBLIC),
    Case("GET", "/auth/callback", PUBLIC, good=(307,)),
    Case("POST", "/auth/reauth/challenge", USER),
    Case("GET", "/auth/reauth/callback", PUBLIC, good=(307,)),
    Case("GET", "/networks", USER),
    Case("POST", "/networks", USER, {"name": "office", "subnet_cidr": "10.0.0.0/24"}, (409,)),
    Case("GET", N, MEMBER_OR_ADMIN),
    Case("PATCH", N, OWNER, {}),
    Case("DELETE", N, OWNER_OR_ADMIN, {"reauth_token": "", "confirmation": ""}, (403,)),
    Case("GET", N + "/check-ip?ip=10.77.0.200", NODES_OR_ADMIN),
    Case("GET", N + "/group-firewall", FIREWALL_OR_ADMIN),
    Case("PUT", N + "/group-firewall/g", FIREWALL, {"inbound_rules": []}),
    Case("DELETE", N + "/group-firewall/none", FIREWALL, None, (404,)),
    Case("GET", "/nodes", USER),
    Case("GET", "/nodes?network_id={network}", SEES_NETWORKS_NODES),
    Case("GET", D, SEES_NODES),
    Case("PATCH", D, MANAGES_NODE, {}),
    Case("DELETE", D, MANAGES_NODE, None, (409,)),
    Case("GET", D + "/config", MANAGES_NODE),
    Case("GET", D + "/certs", MANAGES_NODE),
    Case("POST", D + "/heartbeat", HEARTBEAT),
    Case("POST", "/certificates/create", NODES, with_network(name="lighthouse"), (409,)),
    Case("POST", "/certificates/sign", NODES, with_network(name="signed", public_key=KEY)),
    Case("GET", "/certificates", USER),
    Case("GET", "/certificates?network_id={network}", rule(users="ok", stranger=404, admin=403, granted=403)),
    Case("POST", "/device/enrollment-codes", MANAGES_NODE, lambda world: {"node_id": world.node}),
    Case("POST", "/device/enroll", PUBLIC, {"code": "x"}, (404,)),
    Case("GET", "/device/config", DEVICE),
    Case("GET", "/device/certs", DEVICE),
    Case("GET", "/device/info", DEVICE),
    Case("GET", "/device/lighthouse-peers", DEVICE),
    Case("GET", "/device/advertised-routes", DEVICE),
    Case("GET", "/device/dns-client-config", DEVICE),
    Case("GET", "/device/dnsmasq.conf", DEVICE),
    Case("GET", N + "/dns", MEMBER_OR_ADMIN),
    Case("PUT", N + "/dns", OWNER_OR_ADMIN, {}),
    Case("GET", N + "/dns/aliases", MEMBER_OR_ADMIN),
    Case("POST", N + "/dns/aliases", OWNER_OR_ADMIN, lambda w: {"alias": "vpn", "node_id": w.node}, (409,)),
    Case("DELETE", N + "/dns/aliases/999999", OWNER_OR_ADMIN, None, (404,)),
    Case("GET", N + "/dns/dnsmasq.conf", MEMBER_OR_ADMIN),
    Case("GET", N + "/users", OWNER_OR_ADMIN),
    Case("POST", N + "/users", INVITE, lambda world: {"user_id": world.users["member"]}, (400,)),
    Case("PATCH", N + "/users/{member}", OWNER_OR_ADMIN, {}),
    Case("DELETE", N + "/users/999999", OWNER_OR_ADMIN, None, (404,)),
    Case("GET", "/users", ADMIN),
    Case("GET", "/users/{member}", ADMIN),
    Case("PATCH", "/users/{member}", ADMIN, {}),
    Case("DELETE", "/users/999999", ADMIN, None, (404,)),
    Case("GET", "/audit", ADMIN),
    Case("POST", "/node-requests", USER, {"network_id": 999999, "hostname": "x"}, (404,)),
    Case("GET", "/node-requests", USER),
    Case("POST", "/node-requests/{request}/approve", NODES, {}, (400,)),
    Case("POST", "/node-requests/{request}/reject", NODES, {"reason": ""}, (400,)),
    Case(
        "POST",
        "/access-grants",
        OWNER,
        lambda world: {
            "admin_user_id": world.users["member"],
            "resource_type": "network",
            "resource_id": world.network,
            "reason": "",
        },
        (400,),
    ),
    Case("GET", "/access-grants", USER),
    Case("POST", "/invitations", INVITE_OR_ADMIN, with_network(email="member@example.test"), (400,)),
    Case("GET", "/invitations", USER),
    Case("GET", "/invitations/public/{token}", PUBLIC),
    Case("POST", "/invitations/{token}/accept", USER, None, (400,)),
    Case("POST", "/invitations/{invitation}/resend", INVITE_OR_ADMIN),
    # What ends something comes last.
    Case("DELETE", "/invitations/{invitation}", OWNER_OR_ADMIN, None, (204,)),
    Case("POST", D + "/re-enroll", MANAGES_NODE),
    Case("POST", D + "/revoke-certificate", MANAGES_NODE),
    Case("DELETE", "/access-grants/{grant}", rule(users=404, owner="ok", granted=403), None, (204,)),
    Case("GET", "/auth/logout", PUBLIC, good=(307,)),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with mesh_server(tmp_path_factory.mktemp("access")) as server:
        network = server.new_network("owner", "office")
        node = server.new_node("owner", network, "lighthouse")["node_id"]
        other = server.new_node("owner", network, "other")["node_id"]
        users = {name: server.user_id(name) for name in (*USERS, "invited") if name != "admin"}
        for name in MEMBERS:
            flags = {"nodes": "can_manage_nodes", "invite": "can_invite_users", "firewall": "can_manage_firewall"}
            body: dict[str, object] = {"user_id": users[name], **({flags[name]: True} if name in flags else {})}
            server.good("owner", "POST", f"/networks/{network}/users", body)
        server.good("admin", "PATCH", f"/users/{users['granted']}", {"system_role": "system-admin"})
        grant_body = {
            "admin_user_id": users["granted"],
            "resource_type": "network",
            "resource_id": network,
            "reason": "support",
        }
        grant = server.good("owner", "POST", "/access-grants", grant_body)["id"]
        request = server.good("nodes", "POST", "/node-requests", {"network_id": network, "hostname": "asked"})["id"]
        body = {"network_id": network, "email": "invited@example.test"}
        invitation = server.good("owner", "POST", "/invitations", body)
        server.good("owner", "PUT", f"/networks/{network}/dns", {"domain": "mesh.example", "enabled": True})
        alias = server.good("owner", "POST", f"/networks/{network}/dns/aliases", {"alias": "vpn", "node_id": node})[
            "id"
        ]
        tokens = {name: server.token(name) for name in USERS}
        tokens["device"] = server.enroll("owner", node)
        tokens["other device"] = server.enroll("owner", other)
        yield World(
            server,
            tokens,
            network,
            node,
            users,
            request,
            grant,
            invitation["id"],
            invitation["token"],
            alias,
        )


def check(world: World, case: Case, caller: str) -> None:
    answer = world.ask(caller, case)
    expected = case.rule[caller]
    said = (case.method, case.path, caller, answer.status, answer.body[:200])
    assert answer.status < 500 or answer.status in case.good, said
    if expected == "ok":
        assert answer.status in case.good, said
        if answer.status >= 400:
            assert answer.json["detail"] != DENIED, said
        return
    assert answer.status == expected, said
    if expected == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        device = case.path.startswith("/device/") and case.rule is DEVICE
        words = "Not authenticated"
        if device:
            words = "Missing or invalid device token" if caller == "nobody" else "Invalid or expired device token"
        assert answer.json == {"detail": words}, said
    if expected == 403:
        assert answer.json == {"detail": DENIED}, said


def test_the_table_is_complete(world: World) -> None:
    paths = world.server.ask("GET", "/openapi.json").json["paths"]
    declared = {(method.upper(), path.removeprefix("/api")) for path, methods in paths.items() for method in methods}
    names = {
        "{network}": "{network_id}",
        "{node}": "{node_id}",
        "{member}": "{user_id}",
        "{request}": "{request_id}",
        "{grant}": "{grant_id}",
        "{invitation}": "{invitation_id}",
    }

    def as_declared(case: Case) -> tuple[str, str]:
        path = case.path.partition("?")[0]
        for mine, theirs in names.items():
            path = path.replace(mine, theirs)
        path = path.replace("/aliases/999999", "/aliases/{alias_id}").replace("/users/999999", "/users/{user_id}")
        for group in ("g", "none"):
            path = path.replace(f"/group-firewall/{group}", "/group-firewall/{group}")
        return case.method, path

    assert {as_declared(case) for case in CASES} == declared


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_who_may(world: World, case: Case) -> None:
    refused = [caller for caller in CALLERS if case.rule[caller] != "ok"]
    for caller in [*refused, *(caller for caller in CALLERS if caller not in refused)]:
        check(world, case, caller)


def test_a_token_that_was_logged_out_counts_no_more(world: World) -> None:
    token = world.server.mint("stranger")
    assert world.server.ask("GET", "/networks", token=token).status == 200
    assert world.server.ask("GET", "/auth/logout", token=token).status == 307
    assert world.server.ask("GET", "/networks", token=token).status == 401
    assert world.server.ask("GET", "/auth/me", token=token).json == {"authenticated": False}


def test_tokens_of_another_kind_count_for_nothing(world: World) -> None:
    signer = world.server.signer()
    bad = {
        "garbage": "garbage",
        "reauthentication": signer.of_reauth("owner", "x"),
        "log-in": signer.of_login("a", "b", "c"),
        "an older version": signer.of_device(world.node, 1),
        "of no node": signer.of_device(999999, 1),
        "expired": world.server.mint("owner", 1_700_000_000.0),
        "of the future": world.server.mint("owner", 4_000_000_000.0),
    }
    for why, token in bad.items():
        for path in ("/networks", "/device/config"):
            assert world.server.ask("GET", path, token=token).status == 401, why
    token = world.server.token("owner")
    assert world.server.ask("GET", f"/networks?token={token}").status == 401
    assert world.server.ask("GET", "/networks", headers={"Cookie": f"token={token}"}).status == 401
    assert world.server.ask("GET", "/networks", headers={"Authorization": f"Token {token}"}).status == 401
