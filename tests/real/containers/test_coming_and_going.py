"""An engine that is stopped and started while the server runs."""

from tests.support.engines import Engine
from tests.support.machine import SystemServer

EVERYTHING = (
    ("GET", "/docker/ps"),
    ("GET", "/docker/images"),
    ("GET", "/docker/networks"),
    ("GET", "/docker/volumes"),
    ("GET", "/docker/containers/x"),
    ("GET", "/docker/containers/x/logs"),
    ("GET", "/docker/containers/x/stats"),
    ("POST", "/docker/containers/x/start"),
    ("DELETE", "/docker/containers/x"),
    ("DELETE", "/docker/images/x"),
)


def test_an_engine_that_stops_and_comes_back(server: SystemServer, engine: Engine) -> None:
    engine.make("stays", "/bin/true", start=False)
    assert server.data("/docker/ps?all=true")["count"] == 1
    pid = server.server.pid
    engine.stop()
    try:
        for method, path in EVERYTHING:
            answer = server.api(method, path)
            assert (answer.status, answer.json["error"]["code"]) == (503, "DOCKER_ERROR"), (path, answer)
        pull = server.api("POST", "/docker/images/pull", {"image": "bb:1"})
        assert (pull.status, pull.json["error"]["code"]) == (503, "DOCKER_ERROR")
        for path in ("/containers", "/containers/x", "/containers/images", "/containers/x/logs"):
            answer = server.api("GET", path)
            assert (answer.status, answer.json["error"]["code"]) == (503, "NO_RUNTIME_AVAILABLE")
    finally:
        engine.start()
    assert server.data("/docker/ps?all=true")["count"] == 1
    assert server.data("/containers")["containers"][0]["name"] == "stays"
    assert server.server.pid == pid


def test_an_engine_that_is_started_again_between_two_requests(server: SystemServer, engine: Engine) -> None:
    """Neither is an error, though a connection to the one before was kept; nor is a change made twice."""
    engine.make("stays", "/bin/sleep", "1000", start=False)
    for method, path in (("GET", "/docker/ps"), ("POST", "/docker/containers/stays/start")):
        assert server.api("GET", "/docker/ps").json["data"]["count"] == 0
        engine.stop()
        engine.start()
        assert server.api(method, path).status == 200
    assert server.data("/docker/ps")["count"] == 1
