"""schemathesis throws what the OpenAPI documents allow, and what they forbid, at the real server."""

from pathlib import Path

from tests.support.fuzzing import throw
from tests.support.machine import system_server
from tests.support.mesh_server import EXEMPT, mesh_server
from tests.support.rpc import rpc_server
from tests.support.server import TOKEN, running

_CONNECTIONS = "[server]\nmax_connections_per_address = 1000\n"


def test_the_admin_surface(tmp_path: Path) -> None:
    with running(tmp_path / "server", f"{_CONNECTIONS}[admin]\nbackoff_after = 0\n") as server:
        # setup would change the token that the others use.
        throw(server, tmp_path, "/api/v1/admin/openapi.json", TOKEN, without=r"/setup$")
        assert server.get("/version").json == {"version": "1.0.0"}


def test_the_system_surface(tmp_path: Path) -> None:
    document = "/api/v1/openapi.json"
    with system_server(tmp_path / "machine", _CONNECTIONS) as server:
        session = server.tokens["admin"]
        changes = r"/network/(interfaces/|bridge(/|$)|vlan(/|$)|confirm)"
        # Without an engine all that is asked of containers is a 503, which schemathesis takes for a defect:
        # tests/real/containers has one. Kubernetes has its turn in tests/real/kubernetes, where there is a cluster.
        containers = r"/(containers|docker|kubernetes)(/|$)"
        throw(server.server, tmp_path, document, session, without=rf"/auth/|/users/|{changes}|{containers}")
        # Whoever knows the name of the interface that we come by, and says force, ends it: names are not learned here.
        throw(server.server, tmp_path, document, session, only=changes)
        server.api("POST", "/network/confirm")  # of what may wait, in a process of its own
        # What is done to a user ends the user's tokens, and schemathesis learns whose it has: from GET users, which is
        # left out here, and from what a session's token says.
        server.tokens["opaque"] = server.api("POST", "/auth/tokens", {"name": "opaque"}).json["data"]["token"]
        throw(server.server, tmp_path, document, server.tokens["opaque"], only=r"/users/")
        assert server.api("GET", "/system/summary", who="opaque").status == 200
        throw(server.server, tmp_path, document, session, only=r"/auth/", without=r"/auth/logout")
        assert server.api("GET", "/system/summary").status == 200
        throw(server.server, tmp_path, document, session, only=r"/auth/logout")
        assert server.api("GET", "/system/summary").status == 401


def test_the_rpc_surface(tmp_path: Path) -> None:
    with rpc_server(tmp_path, "[server]\nmax_connections_per_address = 1000\n") as server:
        # A wrong password costs two seconds, the end of the token ends the run, and a call that fails is a 500.
        without = r"/(login|logout|refresh|sudo|ubus/call)$"
        throw(server.server, tmp_path, "/api/ubus/openapi.json", server.tokens["root"], without=without)
        assert server.api("GET", "/2fa", token=server.tokens["root"]).status == 200


def test_the_mesh_surface(tmp_path: Path) -> None:
    """Without log-in, whose answer is a 501 where there is no provider, and which tests/real/test_oidc.py looks at."""
    document = "/api/openapi.json"
    with mesh_server(tmp_path / "server", f"{_CONNECTIONS}{EXEMPT}") as server:
        server.new_node("admin", server.new_network("admin", "office"), "gate")
        throw(server.server, tmp_path, document, server.token("admin"), without=r"/auth/log|/device/")
        assert server.api("admin", "GET", "/networks").status == 200
        node = server.new_node("admin", server.new_network("admin", "another one"), "gate")["node_id"]
        throw(server.server, tmp_path, document, server.enroll("admin", node), only=r"/device/")
        throw(server.server, tmp_path, document, server.token("admin"), only=r"/auth/logout")
        assert server.api("admin", "GET", "/networks").status == 401
