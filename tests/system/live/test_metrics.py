"""/ws/metrics, /ws/events and the history, of the real server over TLS."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer, system_server

METRICS = ["cpu", "memory", "disk", "network", "load"]
MEMORY = {
    *("total", "used", "free", "available", "used_percent"),
    *("swap_total", "swap_used", "swap_free", "swap_used_percent"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("metrics")) as server:
        yield server


def round_of(socket: LiveSocket, names: list[str] = METRICS) -> dict[str, Any]:
    """The messages of one sample, by metric, in the order of the contract."""
    messages = [socket.hear() for _ in names]
    assert [message["metric"] for message in messages] == names
    assert {message["type"] for message in messages} == {"metric"}
    assert len({message["timestamp"] for message in messages}) == 1
    return {message["metric"]: message for message in messages}


def test_a_subscriber_gets_everything_in_the_contracts_shape(server: SystemServer) -> None:
    with live_socket(server, "/ws/metrics", "reader") as socket:
        socket.say("subscribe")
        found = {name: message["data"] for name, message in round_of(socket).items()}
    cpu = found["cpu"]
    assert set(cpu) == {"usage_percent", "load1", "load5", "load15", "cores"}
    assert [set(core) for core in cpu["cores"]] == [{"core", "usage_percent"}] * len(cpu["cores"])
    assert [core["core"] for core in cpu["cores"]] == list(range(len(cpu["cores"])))
    assert all(0 <= core["usage_percent"] <= 100 for core in cpu["cores"])
    assert set(found["memory"]) == MEMORY
    assert found["memory"]["total"] > found["memory"]["used"] > 0
    (root,) = [disk for disk in found["disk"]["disks"] if disk["mount_point"] == "/"]
    assert set(root) == {
        *("device", "mount_point", "filesystem", "total", "used", "free", "used_percent"),
        "io_stats",
    }
    assert root["total"] >= root["used"] + root["free"] > 0
    assert set(root["io_stats"]) == {
        *("read_bytes_per_sec", "write_bytes_per_sec", "read_ops_per_sec", "write_ops_per_sec"),
    }
    (loopback,) = [each for each in found["network"]["interfaces"] if each["name"] == "lo"]
    assert set(loopback) == {
        *("name", "rx_bytes_per_sec", "tx_bytes_per_sec", "rx_packets_per_sec", "tx_packets_per_sec"),
        *("rx_errors", "tx_errors", "rx_dropped", "tx_dropped"),
    }
    assert set(found["load"]) == {"load1", "load5", "load15"}


def test_traffic_is_counted_by_the_second(server: SystemServer) -> None:
    """The machine has an interface of its own, on which nothing happens but what the test does."""
    with live_socket(server, "/ws/metrics") as socket:
        socket.say("subscribe", payload={"metrics": ["network"], "interval": 1})
        seen: list[float] = []
        for _ in range(3):
            server.machine.run("dd", "if=/dev/zero", "of=/run/zero", "bs=1M", "count=1")
            server.api("GET", "/system/summary")
            message = socket.hear()
            seen += [each["rx_bytes_per_sec"] for each in message["data"]["interfaces"] if each["name"] == "lo"]
    assert max(seen) > 1000
    assert max(seen) < 10_000_000


def test_all_clients_of_an_interval_see_the_same_samples(server: SystemServer) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(live_socket(server, "/ws/metrics")) for _ in range(4)]
        for socket in sockets:
            socket.say("subscribe", payload={"metrics": ["load"], "interval": 1})
        seen = [[socket.hear()["timestamp"] for _ in range(4)] for socket in sockets]
    common = set(seen[0]).intersection(*seen[1:])
    assert len(common) >= 2, seen
    moments = [datetime.fromisoformat(text) for text in seen[0]]
    assert moments == sorted(moments)
    assert abs((moments[-1] - datetime.now(UTC)).total_seconds()) < 60


def test_only_what_was_asked_for_and_the_last_word_counts(server: SystemServer) -> None:
    with live_socket(server, "/ws/metrics") as socket:
        socket.say("subscribe", payload={"metrics": ["memory", "cpu"], "interval": 1})
        round_of(socket, ["cpu", "memory"])
        socket.say("subscribe", payload={"metrics": ["load"], "interval": 1})
        socket.hear_until(lambda message: message["metric"] == "load")
        assert [socket.hear()["metric"] for _ in range(2)] == ["load", "load"]


def test_after_unsubscribe_nothing_comes(server: SystemServer) -> None:
    with live_socket(server, "/ws/metrics") as socket:
        socket.say("subscribe", payload={"interval": 1})
        round_of(socket)
        socket.say("unsubscribe")
        socket.say("ping")
        socket.hear_until(lambda message: message["type"] == "pong")
        with live_socket(server, "/ws/metrics") as other:
            other.say("subscribe", payload={"metrics": ["load"], "interval": 1})
            for _ in range(3):
                other.hear()
        socket.say("ping", id="last")
        assert socket.hear() == {"type": "pong", "id": "last"}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"interval": 0}, "payload.interval"),
        ({"interval": 61}, "payload.interval"),
        ({"interval": "2"}, "payload.interval"),
        ({"interval": 1.5}, "payload.interval"),
        ({"metrics": ["cpus"]}, "payload.metrics"),
        ({"metrics": "cpu"}, "payload.metrics"),
        ({"metrics": ["cpu"] * 6}, "payload.metrics"),
        ([], "payload"),
    ],
)
def test_what_cannot_be_subscribed_to(server: SystemServer, payload: object, field: str) -> None:
    with live_socket(server, "/ws/metrics") as socket:
        socket.say("subscribe", payload=payload, id=3)
        answer = socket.hear()
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "INVALID_INPUT", 3)
        assert answer["error"].startswith(field)


def test_the_events_of_a_user_interface(server: SystemServer) -> None:
    with live_socket(server, "/ws/events", "reader") as socket:
        socket.say("subscribe", payload={"channel": "metrics", "filters": {"interval": 1}})
        event = socket.hear()
        assert (event["type"], event["payload"]["kind"]) == ("event", "metrics")
        data = event["payload"]["data"]
        assert set(data) == {"timestamp", "cpu", "memory", "disk", "network"}
        assert set(data["cpu"]) == {"usage", "cores", "per_core", "load_average"}
        assert data["cpu"]["cores"] == len(data["cpu"]["per_core"])
        assert len(data["cpu"]["load_average"]) == 3
        assert set(data["memory"]) == MEMORY
        assert set(data["disk"][0]) == {"device", "mountpoint", "fstype", "total", "used", "free", "used_percent"}
        assert set(data["network"][0]) == {
            *("interface", "bytes_sent", "bytes_recv", "packets_sent", "packets_recv"),
            *("errin", "errout", "dropin", "dropout"),
        }
        assert socket.hear()["payload"]["data"]["timestamp"] > data["timestamp"]
        socket.say("unsubscribe", payload={"channel": "metrics"})
        socket.say("ping")
        socket.hear_until(lambda message: message["type"] == "pong")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"channel": "weather"}, "UNKNOWN_CHANNEL"),
        ({"channel": "metrics:eth0"}, "UNKNOWN_CHANNEL"),
        ({"channel": ""}, "INVALID_INPUT"),
        ({"channel": "x" * 301}, "INVALID_INPUT"),
        ({"channel": 1}, "INVALID_INPUT"),
        ({}, "INVALID_INPUT"),
        (None, "INVALID_INPUT"),
        ({"channel": "metrics", "filters": {"interval": 99}}, "INVALID_INPUT"),
    ],
)
def test_channels_that_are_not_there(server: SystemServer, payload: object, code: str) -> None:
    with live_socket(server, "/ws/events") as socket:
        socket.say("subscribe", payload=payload)
        assert socket.hear()["code"] == code
        socket.say("input", data="x")
        assert socket.hear()["code"] == "NOT_SUPPORTED"


def test_the_history(server: SystemServer) -> None:
    found = server.data("/system/metrics/history?metric=memory&minutes=60", who="reader")
    assert (found["metric"], found["interval"]) == ("memory", 10)
    assert set(found["samples"][0]["data"]) == MEMORY
    times = [datetime.fromisoformat(sample["timestamp"]) for sample in found["samples"]]
    assert times == sorted(times)
    assert len(server.data("/system/metrics/history?metric=cpu")["samples"]) >= 1
    assert server.api("GET", "/system/metrics/history?metric=cpu", who=None).status == 401


@pytest.mark.parametrize(
    "query",
    ["", "?metric=", "?metric=heat", "?metric=cpu&minutes=0", "?metric=cpu&minutes=61", "?metric=cpu&minutes=x"],
)
def test_what_the_history_does_not_have(server: SystemServer, query: str) -> None:
    answer = server.api("GET", f"/system/metrics/history{query}")
    assert answer.status == 400
    assert answer.json["error"]["code"] == "VALIDATION_ERROR"


def test_refusals_before_the_upgrade(server: SystemServer) -> None:
    for origin, status in (("null", 403), ("https://evil.example", 403), (server.server.base, 101)):
        if status == 101:
            with live_socket(server, "/ws/metrics", origin=origin):
                pass
            continue
        with pytest.raises(InvalidStatus) as caught, live_socket(server, "/ws/metrics", origin=origin):
            pass
        assert caught.value.response.status_code == status
        assert b'"code":"PERMISSION_DENIED"' in caught.value.response.body


def test_who_does_not_ask_for_a_websocket(server: SystemServer) -> None:
    answer = server.api("GET", "/ws/metrics", who=None, base="")
    assert answer.status == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.json["status"] == "error"
    handshake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    answer = server.api("GET", "/ws/metrics", None, *handshake, "Sec-WebSocket-Key: short", who=None, base="")
    assert answer.status == 400
    handshake[2] = "Sec-WebSocket-Version: 8"
    answer = server.api("GET", "/ws/metrics", None, *handshake, who=None, base="")
    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")
    assert server.api("POST", "/ws/metrics", {}, base="").status == 405
    bad = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}=="]
    answer = server.api("GET", "/ws/metrics", None, *bad, "Authorization: Bearer wrong", who=None, base="")
    assert answer.status == 401
    assert answer.json["error"]["code"] == "UNAUTHORIZED"


def test_ten_sockets_of_an_address(server: SystemServer) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(live_socket(server, "/ws/metrics")) for _ in range(10)]
        with pytest.raises(InvalidStatus) as caught, live_socket(server, "/ws/events"):
            pass
        assert caught.value.response.status_code == 429
        assert caught.value.response.headers["Retry-After"]
        for socket in sockets:
            socket.say("ping")
            assert socket.hear()["type"] == "pong"


def test_wrong_tokens_and_bad_messages_over_tls(server: SystemServer) -> None:
    with live_socket(server, "/ws/metrics", None) as socket:
        socket.say("subscribe")
        assert socket.hear()["error"] == "Not authenticated"
        answer = socket.log_in("wrong")
        assert (answer["code"], socket.end()) == ("AUTH_FAILED", 4401)
    with live_socket(server, "/ws/metrics") as socket:
        socket.send(b"\xff\xfe binary", binary=True)
        assert socket.end() == 1003
    with live_socket(server, "/ws/metrics") as socket:
        socket.send(b"x" * (2 << 20))
        assert socket.end() == 1009


def test_logging_out_and_losing_the_account_close_the_socket(server: SystemServer) -> None:
    server.machine.add_user("guest")
    server.log_in("guest")
    with live_socket(server, "/ws/events", "guest") as socket:
        assert server.api("POST", "/auth/logout", who="guest").status == 200
        assert socket.end() == 4401
    server.log_in("guest")
    with live_socket(server, "/ws/events", "guest") as socket:
        assert server.api("DELETE", "/users/guest").status == 200
        assert socket.end() == 4401


def test_stopping_says_goodbye_and_nothing_secret_is_in_the_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = "metrics_history = false\n[server]\nlog_level = 'debug'\n"
    with system_server(tmp_path_factory.mktemp("stop"), config) as server:
        refused = server.api("GET", "/system/metrics/history?metric=cpu")
        assert (refused.status, refused.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        token = server.tokens["admin"]
        with live_socket(server, f"/ws/metrics?token={token}") as socket, live_socket(server, "/ws/events") as other:
            socket.say("subscribe", payload={"interval": 1})
            socket.say("input", data="a keystroke")
            other.send(b"no json but a secret")
            other.say("auth", token="a-wrong-token")
            assert other.end() == 4401
            server.server.stop()
            assert socket.end() == 1001
        text = server.server.log.read_text()
    for secret in (token, "keystroke", "secret", "a-wrong-token"):
        assert secret not in text
    assert text.count('"type":"websocket"') == 2
    assert '"status":4401' in text and '"status":1001' in text
