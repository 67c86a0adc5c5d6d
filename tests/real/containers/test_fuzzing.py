"""schemathesis over all that is asked of containers and Docker, with an engine to answer it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine_hooks import CONTAINERS
from tests.support.engines import IMAGE, Engine, House, docker, image_archive
from tests.support.fuzzing import CHECKS, throw
from tests.support.machine import system_server

DOCUMENT = "/api/v1/openapi.json"
PATIENT = 'trap "exit 0" TERM; while :; do sleep 0.1; done'


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """All of this engine goes with its house."""


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of its own, with things to break. Neither it nor a container of it can write outside its folder."""
    house = House(tmp_path_factory.mktemp("fuzz"))  # short: sockets lie in it
    engine = docker(house)
    engine.environment["TMPDIR"] = "/run"
    try:
        house.run("mount", "--bind", str(house.folder), str(house.folder))
        house.run("mount", "-o", "remount,bind,ro", "/")
        archive = house.folder / "bb.tar"
        archive.write_bytes(image_archive(IMAGE))
        engine.start()
        engine.load(archive)
        for number in range(CONTAINERS):
            engine.request("POST", f"/images/{IMAGE}/tag?repo=spare&tag=made-{number}")
            engine.make(f"made-{number}", "/bin/sh", "-c", PATIENT, start=number % 4 == 0)
        yield engine
    finally:
        engine.close()
        house.close()


def test_containers_and_docker(tmp_path: Path, engine: Engine) -> None:
    config = f'docker_socket = "{engine.socket}"\n[server]\nmax_connections_per_address = 1000\n'
    with system_server(tmp_path / "machine", config) as server:
        token, paths = server.tokens["admin"], r"/(containers|docker)(/|$)"
        hooks = "tests.support.engine_hooks"
        throw(server.server, tmp_path, DOCUMENT, token, only=paths, without=r"/pull$", examples=5, hooks=hooks)
        # There is no way to any registry here: that is a 503, and none of our defects.
        checks = [each for each in CHECKS if each != "not_a_server_error"]
        throw(server.server, tmp_path, DOCUMENT, token, only=r"/docker/images/pull$", examples=5, checks=checks)
        made = server.api("POST", "/docker/containers", {"image": IMAGE, "name": "last"})
        assert (made.status, server.api("POST", "/docker/containers/last/start").status) == (201, 200)
