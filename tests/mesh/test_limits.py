"""How often one may ask (mesh contract, "limits"), who gets a development token, and a master key that was replaced."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mesh_server import MeshAnswer, MeshServer, mesh_server


def counted(ask: Callable[[], MeshAnswer], count: int) -> None:
    """The first `count` are let through, the next one is told when to come back."""
    for number in range(count):
        answer = ask()
        assert answer.status != 429, number
    refused = ask()
    assert refused.status == 429
    assert refused.json == {"detail": "Too many requests"}
    assert 1 <= int(refused.headers["retry-after"]) <= 3600


def test_limits(tmp_path: Path) -> None:
    with mesh_server(tmp_path, "[mesh]\ndev_token = 'loopback'\n") as server:
        network = server.new_network("alice", "office")
        nodes = [server.new_node("alice", network, name)["node_id"] for name in ("a", "b")]
        first, second = (server.enroll("alice", node) for node in nodes)  # two of five
        alice = server.token("alice")
        counted(lambda: server.ask("POST", "/device/enroll", {"code": "A" * 16}), 3)
        # Counted before the body is read: a body that is wrong counts as well, and does not get further.
        assert server.ask("POST", "/device/enroll", b"{").status == 429
        counted(lambda: server.ask("GET", "/device/certs", token=first), 20)
        assert server.ask("GET", "/device/certs", token=second).status == 200  # each device for itself
        assert server.ask("GET", "/device/config", token=first).status == 200  # each limit for itself
        etag = server.ask("GET", "/device/config", token=first).headers["etag"]
        counted(lambda: server.ask("GET", "/device/config", token=first, headers={"If-None-Match": etag}), 598)
        assert server.ask("GET", "/device/config", token=second).status == 200
        server.ask("GET", "/device/dns-client-config", token=first)
        counted(lambda: server.ask("GET", "/device/dnsmasq.conf", token=first), 599)
        assert server.ask("GET", "/auth/login").status == 501
        counted(lambda: server.ask("GET", "/auth/dev-token"), 9)  # one limit for both
        assert server.ask("GET", "/auth/login").status == 429
        counted(lambda: server.ask("GET", "/auth/callback"), 20)
        counted(lambda: server.ask("POST", "/auth/reauth/challenge", token=alice), 20)
        counted(lambda: server.ask("GET", "/auth/reauth/callback"), 40)
        counted(lambda: server.ask("GET", "/invitations/public/x"), 30)
        # A header makes nobody another client, where no proxy is trusted.
        other = {"X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9"}
        assert server.ask("GET", "/invitations/public/x", headers=other).status == 429
        assert server.ask("GET", "/networks", token=alice).status == 200


FORWARDED = [{"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Forwarded-For": ""}]


@pytest.mark.parametrize(
    ("policy", "plain", "forwarded"), [("loopback", 200, 404), ("any", 200, 200), ("off", 404, 404)]
)
def test_who_gets_a_development_token(tmp_path: Path, policy: str, plain: int, forwarded: int) -> None:
    config = f'[mesh]\ndev_token = "{policy}"\nrate_limit_exempt = ["127.0.0.0/8"]\n'
    with mesh_server(tmp_path, config) as server:
        assert server.ask("GET", "/auth/dev-token").status == plain
        for headers in FORWARDED:
            assert server.ask("GET", "/auth/dev-token", headers=headers).status == forwarded, headers
        browser = server.ask("GET", "/auth/login", headers={"Accept": "text/html"})
        assert browser.status == (302 if plain == 200 else 501)
        refused = server.ask("GET", "/auth/dev-token") if plain == 404 else None
        assert refused is None or refused.json == {"detail": "Not Found"}


def test_with_a_provider_there_is_none_unless_debug_is_on(tmp_path: Path) -> None:
    oidc = '[mesh.oidc]\nissuer = "https://127.0.0.1:1"\n'
    with mesh_server(tmp_path / "without", oidc) as server:
        assert server.ask("GET", "/auth/dev-token").status == 404
    with mesh_server(tmp_path / "with", f"[mesh]\ndebug = true\n{oidc}") as server:
        assert server.ask("GET", "/auth/dev-token").status == 200


def test_a_master_key_that_was_replaced(tmp_path: Path) -> None:
    """What was encrypted under the old one cannot be had: that is said, and the rest goes on."""
    with mesh_server(tmp_path) as server:
        network = server.new_network("alice", "office")
        node = server.new_node("alice", network, "gate")["node_id"]
        server.good("alice", "POST", "/invitations", {"network_id": network, "email": "bob@example.test"})
        server.disconnect()
        server.server.stop()
        (server.server.state / "mesh" / "master.key").unlink()
        server.server.start()
        assert server.api("alice", "GET", "/networks").status == 401  # tokens were signed with it
        server = MeshServer(server.server)
        words = {"detail": "The mesh's keys are encrypted under another master key than the one in use"}
        body = {"network_id": network, "name": "another"}
        for method, path, sent in (
            ("POST", "/certificates/create", body),
            ("GET", f"/nodes/{node}/config", None),
            ("GET", f"/nodes/{node}/certs", None),
            ("GET", "/invitations", None),
        ):
            answer = server.api("alice", method, path, sent)
            assert (answer.status, answer.json) == (503, words), path
        assert len(server.good("alice", "GET", "/nodes")) == 1
        other = server.new_network("alice", "new")
        assert server.new_node("alice", other, "gate")["ip_address"] == "10.77.0.1"
        server.disconnect()
        assert "Traceback" not in server.server.log.read_text()
