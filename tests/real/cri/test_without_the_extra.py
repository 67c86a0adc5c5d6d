"""A server without gRPC, on a machine that has containerd alone."""

from pathlib import Path

from tests.support.containerd import Containerd
from tests.support.machine import system_server
from tests.support.server import ROOT

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("grpc", "google"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
"""What makes an interpreter one in which gRPC and protobuf are not installed."""


def test_it_says_how_to_install_it(tmp_path: Path, runtime: Containerd) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    config = f'cri_sockets = ["{runtime.socket}"]\n'
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with system_server(tmp_path / "machine", config, environment=environment) as server:
        for path in ("", "/images", "/x", "/x/logs", "?runtime=containerd"):
            answer = server.api("GET", f"/containers{path}")
            assert (answer.status, answer.json["error"]["code"]) == (503, "NO_RUNTIME_AVAILABLE")
            assert "pip install 'appliance[cri]'" in answer.json["error"]["message"]
        assert server.api("GET", "/docker/ps").status == 503
        assert b"Traceback" not in server.server.log.read_bytes()
