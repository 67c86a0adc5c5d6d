"""A server for the real containerd, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.containerd import Containerd, containerd
from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """containerd with an image."""
    with containerd(tmp_path_factory.mktemp("cri") / "house") as found:
        yield found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, runtime: Containerd) -> Iterator[SystemServer]:
    """A server that asks it."""
    with system_server(tmp_path_factory.mktemp("server"), f'cri_sockets = ["{runtime.socket}"]\n') as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(runtime: Containerd, server: SystemServer) -> Iterator[None]:
    """No container outlives its test, and the server met no defect of its own."""
    begin = server.server.log.stat().st_size
    yield
    runtime.remove_all()
    lines = server.server.log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
    assert [line for line in lines if "Traceback" in line] == []
