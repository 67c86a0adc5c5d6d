"""schemathesis throws what the document allows of Kubernetes, and what it forbids, at a server with a cluster."""

from pathlib import Path

from tests.real.kubernetes.conftest import server_of
from tests.support.fuzzing import throw
from tests.support.kubernetes.double import double


def test_kubernetes(tmp_path: Path) -> None:
    """With a cluster of its own, of which not much may be left."""
    with double(tmp_path / "cluster") as cluster, server_of(cluster, tmp_path / "machine") as server:
        cluster.pod("default", "writes", "/bin/sh", "-c", "echo here; sleep 1000")
        throw(server.server, tmp_path, "/api/v1/openapi.json", server.tokens["admin"], only="/kubernetes/")
        assert server.api("GET", "/kubernetes/pods").status == 200
        assert cluster.complaints == ""
