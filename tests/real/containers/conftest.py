"""A server for Docker and one for Podman, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.engines import Engine
from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="session", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, all_engines: dict[str, Engine]) -> Engine:
    """Each test is run against both."""
    return all_engines[request.param]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[SystemServer]:
    """A server that uses the engine."""
    config = f'docker_socket = "{engine.socket}"\n'
    hurry = {"appliance.host.containers.docker.executions.HANG_UP_SECONDS": 1.0}
    with system_server(tmp_path_factory.mktemp(engine.name), config, hurry=hurry) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(engine: Engine, server: SystemServer) -> Iterator[None]:
    """No container outlives its test, and the server met no defect of its own."""
    begin = server.server.log.stat().st_size
    yield
    engine.remove_all()
    lines = server.server.log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
    assert [line for line in lines if "Traceback" in line] == []
