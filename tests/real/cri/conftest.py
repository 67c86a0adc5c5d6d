"""A server for the real containerd, for all tests of this folder."""

import json
from collections.abc import Iterator

import pytest

from tests.support.containerd import Containerd, containerd
from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Containerd, Containerd]]:
    """containerd with CRI and an image, and one without."""
    with containerd(tmp_path_factory.mktemp("cri") / "house") as found:
        yield found


@pytest.fixture(scope="session")
def runtime(both: tuple[Containerd, Containerd]) -> Containerd:
    """The one that can be asked."""
    return both[0]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, both: tuple[Containerd, Containerd]) -> Iterator[SystemServer]:
    """A server in their network that asks them in this order."""
    sockets = json.dumps([str(each.socket) for each in both])
    folder = tmp_path_factory.mktemp("server")
    with system_server(folder, f"cri_sockets = {sockets}\n", network=both[0].network) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(runtime: Containerd, server: SystemServer) -> Iterator[None]:
    """No container outlives its test, and the server met no defect of its own."""
    begin = server.server.log.stat().st_size
    yield
    runtime.remove_all()
    lines = server.server.log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
    assert [line for line in lines if "Traceback" in line] == []
