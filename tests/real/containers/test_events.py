"""The channel container-events on /ws/events."""

from typing import Any

from tests.support.engines import IMAGE, Engine
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer


def listen(socket: LiveSocket, **filters: object) -> None:
    """Subscribe, and make sure that it has begun: messages are dealt with in order."""
    socket.say("subscribe", payload={"channel": "container-events", "filters": filters})
    socket.say("ping")
    assert socket.hear() == {"type": "pong"}


def event(socket: LiveSocket, action: str, id: str = "") -> Any:
    """The next event of an action."""

    def wanted(message: Any) -> bool:
        payload = message["payload"]
        assert (message["type"], payload["kind"]) == ("event", "container"), message
        return payload["action"] == action and (not id or payload["id"] == id)

    return socket.hear_until(wanted)["payload"]


def test_the_life_of_a_container(server: SystemServer, engine: Engine) -> None:
    with live_socket(server, "/ws/events") as admin, live_socket(server, "/ws/events", "reader") as reader:
        for socket in (admin, reader):
            listen(socket)
        id = engine.make("seen", "/bin/true", Labels={"password": "hush", "com.docker.compose.project": "shop"})
        engine.wait(id)
        engine.request("DELETE", f"/containers/{id}?force=1")
        for action in ("create", "start", "die"):
            found = event(admin, action, id)
            assert (found["name"], found["type"]) == ("seen", "container") and found["timestamp"].endswith("Z")
            assert found["attributes"]["password"] == "hush" and IMAGE in found["attributes"]["image"]
            read = event(reader, action, id)
            attributes = {**found["attributes"], "password": "***"}
            assert read == {**found, "attributes": attributes}


def test_what_is_not_asked_for_does_not_come(server: SystemServer, engine: Engine) -> None:
    with live_socket(server, "/ws/events") as socket:
        listen(socket, action=["start"], container=["wanted"])
        engine.make("other", "/bin/sleep", "1000")
        engine.json("POST", "/volumes/create", {"Name": "not-seen"})
        engine.request("DELETE", "/volumes/not-seen")
        id = engine.make("wanted", "/bin/sleep", "1000")
        assert socket.hear()["payload"]["id"] == id
        socket.say("unsubscribe", payload={"channel": "container-events"})
        socket.say("ping")
        assert socket.hear() == {"type": "pong"}
        engine.make("later", "/bin/sleep", "1000")
        socket.say("ping")
        assert socket.hear() == {"type": "pong"}


def test_things_of_other_types(server: SystemServer, engine: Engine) -> None:
    with live_socket(server, "/ws/events") as socket:
        listen(socket, type=["volume"])
        engine.json("POST", "/volumes/create", {"Name": "seen-volume"})
        found = socket.hear()["payload"]
        assert (found["type"], found["action"]) == ("volume", "create") and "seen-volume" in (
            found["id"],
            found["name"],
        )
        engine.request("DELETE", "/volumes/seen-volume")


def test_it_goes_on_when_the_engine_has_been_away(server: SystemServer, engine: Engine) -> None:
    with live_socket(server, "/ws/events") as socket:
        listen(socket)
        engine.stop()
        try:
            with live_socket(server, "/ws/events") as other:
                other.say("subscribe", payload={"channel": "container-events"})
                assert other.hear()["code"] == "DOCKER_ERROR"
        finally:
            engine.start()
        id = engine.make("after", "/bin/sleep", "1000")
        assert event(socket, "start", id)["name"] == "after"


def test_what_is_refused(server: SystemServer, engine: Engine) -> None:
    with live_socket(server, "/ws/events") as socket:
        for filters in ({"type": ["planet"]}, {"action": "start"}, {"container": ["x" * 100]}):
            socket.say("subscribe", payload={"channel": "container-events", "filters": filters})
            assert socket.hear()["code"] == "INVALID_INPUT", filters
        listen(socket, type=["volume"])
        socket.say("subscribe", payload={"channel": "container-events", "filters": {"type": ["planet"]}})
        assert socket.hear()["code"] == "INVALID_INPUT"
        engine.json("POST", "/volumes/create", {"Name": "still-seen"})  # what was asked for before goes on
        assert "still-seen" in str(socket.hear()["payload"])
        socket.say("subscribe", payload={"channel": "container-events:x"})
        assert socket.hear()["code"] == "UNKNOWN_CHANNEL"
    engine.request("DELETE", "/volumes/still-seen")
