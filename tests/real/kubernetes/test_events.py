"""The channels k8s-events and k8s-events:NAMESPACE on /ws/events."""

import itertools
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.double import Double
from tests.support.kubernetes.passage import passage
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer, system_server
from tests.support.processes import wait_for

_numbers = itertools.count()


def happen(cluster: Cluster, namespace: str, reason: str = "Tested", **members: object) -> str:
    """Tell the cluster of something that happens to the pod `web`: the event's name."""
    name = f"web.{next(_numbers)}"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "web"},
        "reason": reason,
        "message": f"{reason} with hush",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:01Z",
        "source": {"component": "test"},
        **members,
    }
    cluster.must(cluster.request("POST", f"/api/v1/namespaces/{namespace}/events", event))
    return name


def fresh(cluster: Cluster) -> str:
    """A namespace that no other test has had: they end by and by."""
    return cluster.namespace(f"events-{secrets.token_hex(4)}")


def path_of(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/events/{name}"


def listen(socket: LiveSocket, channel: str = "k8s-events", **filters: object) -> None:
    """Subscribe, and make sure that it has begun: messages are dealt with in order."""
    socket.say("subscribe", payload={"channel": channel, "filters": filters})
    pong(socket)


def pong(socket: LiveSocket) -> None:
    socket.say("ping")
    assert socket.hear() == {"type": "pong"}


def heard(socket: LiveSocket) -> Any:
    """The next event."""
    message = socket.hear()
    assert (message["type"], message["payload"]["kind"]) == ("event", "k8s"), message
    return message["payload"]


def heard_of(socket: LiveSocket, namespace: str) -> Any:
    """The next event in a namespace; a real cluster has others."""
    while (event := heard(socket))["namespace"] != namespace:
        pass
    return event


def test_the_life_of_an_event(server: SystemServer, cluster: Cluster) -> None:
    shop = fresh(cluster)
    with live_socket(server, "/ws/events") as admin, live_socket(server, "/ws/events", "reader") as reader:
        for socket in (admin, reader):
            listen(socket, f"k8s-events:{shop}")
        name = happen(cluster, shop)
        found = heard(admin)
        assert found == {
            "kind": "k8s",
            "action": "ADDED",
            "type": "Normal",
            "reason": "Tested",
            "message": "Tested with hush",
            "namespace": shop,
            "name": name,
            "object": {
                "kind": "Pod",
                "namespace": shop,
                "name": "web",
                "api_version": "v1",
                "uid": "",
                "field_path": "",
            },
            "count": 1,
            "timestamp": "2026-01-01T00:00:01Z",
            "first_timestamp": "2026-01-01T00:00:00Z",
            "last_timestamp": "2026-01-01T00:00:01Z",
            "component": "test",
            "host": "",
        }
        assert heard(reader) == {**found, "message": "***"}
        patch = {"count": 2, "message": "again"}
        path = path_of(shop, name)
        cluster.must(cluster.request("PATCH", path, patch, "application/merge-patch+json"))
        found = heard(admin)
        assert (found["action"], found["count"], found["message"]) == ("MODIFIED", 2, "again")
        assert heard(reader)["message"] == "***"
        cluster.must(cluster.request("DELETE", path))
        assert heard(admin)["action"] == heard(reader)["action"] == "DELETED"
        happen(cluster, shop, reason="Scheduled")
        assert heard(admin)["message"] == heard(reader)["message"] == "Scheduled with hush"


def test_readers_see_no_more_in_lists(server: SystemServer, cluster: Cluster) -> None:
    shop = fresh(cluster)
    for reason, read in (("Tested", "***"), ("Scheduled", "Scheduled with hush")):
        name = happen(cluster, shop, reason)
        for path in (f"/kubernetes/events/{shop}", f"/kubernetes/events?namespace={shop}"):
            for who, message in (("admin", f"{reason} with hush"), ("reader", read), ("admin", f"{reason} with hush")):
                rows = server.data(path, who=who)["resources"]
                assert [row["columns"]["message"] for row in rows if row["name"] == name] == [message]
        for who, message in (("admin", f"{reason} with hush"), ("reader", read)):
            found = server.data(f"/kubernetes/events/{shop}/{name}", who=who)["resource_detail"]
            assert (found["columns"]["message"], found["object"]["message"]) == (message, message)


def test_all_namespaces_and_one(server: SystemServer, cluster: Cluster) -> None:
    shop, bank = fresh(cluster), fresh(cluster)
    before = happen(cluster, shop)
    with live_socket(server, "/ws/events") as socket:
        for channel in ("k8s-events", f"k8s-events:{bank}"):
            socket.say("subscribe", payload={"channel": channel})
            pong_after_others(socket)  # namespaces of other tests may be ending
        name = happen(cluster, shop)
        found = heard_of(socket, shop)
        assert (found["namespace"], found["name"]) == (shop, name) and name != before
        name = happen(cluster, bank)
        assert {heard_of(socket, bank)["name"], heard_of(socket, bank)["name"]} == {name}
        socket.say("unsubscribe", payload={"channel": "k8s-events"})
        pong_after_others(socket)
        happen(cluster, shop)
        name = happen(cluster, bank)
        assert heard(socket)["name"] == name
        socket.say("unsubscribe", payload={"channel": f"k8s-events:{bank}"})
        pong(socket)
        happen(cluster, bank)
        pong(socket)


def pong_after_others(socket: LiveSocket) -> None:
    socket.say("ping")
    socket.hear_until(lambda message: message["type"] == "pong")


def test_filters(server: SystemServer, cluster: Cluster) -> None:
    shop = fresh(cluster)
    other: dict[str, Any] = {
        "involvedObject": {"kind": "Job", "namespace": shop, "name": "nightly"},
        "type": "Warning",
        "reason": "Late",
    }
    for filters in (
        {"type": ["Warning"]},
        {"reason": ["Late", "Never"]},
        {"kind": ["Job"]},
        {"name": ["nightly"]},
        {"action": ["ADDED"], "kind": ["Job"], "type": ["Warning", "Normal"]},
    ):
        with live_socket(server, "/ws/events", "reader") as socket:
            listen(socket, f"k8s-events:{shop}", **filters)
            happen(cluster, shop)
            name = happen(cluster, shop, **other)
            assert heard(socket)["name"] == name, filters
            pong(socket)


def test_what_is_refused(server: SystemServer, cluster: Cluster) -> None:
    with live_socket(server, "/ws/events") as socket:
        shop = fresh(cluster)
        listen(socket, f"k8s-events:{shop}")
        for filters in ({"type": ["Odd"]}, {"reason": "Late"}, {"name": ["x" * 300]}, {"action": ["GONE"]}):
            socket.say("subscribe", payload={"channel": f"k8s-events:{shop}", "filters": filters})
            assert socket.hear()["code"] == "INVALID_INPUT", filters
        for namespace in ("Shop", "-x", "a/b", "..", "a" * 64, "shop\n"):
            socket.say("subscribe", payload={"channel": f"k8s-events:{namespace}"})
            assert socket.hear()["code"] == "INVALID_INPUT", namespace
        name = happen(cluster, shop)
        assert heard(socket)["name"] == name  # what was asked for before goes on


def test_nothing_is_missed_and_nothing_told_twice(its_server: SystemServer, its_double: Double) -> None:
    """While the watch is cut, also where the server has forgotten from where to go on."""
    shop = fresh(its_double)
    with live_socket(its_server, "/ws/events") as socket:
        listen(socket, f"k8s-events:{shop}")
        names = [happen(its_double, shop)]
        for forget in (False, True, True):
            its_double.sever()
            names += [happen(its_double, shop) for _ in range(3)]
            if forget:
                its_double.compact()
        names.append(happen(its_double, shop))
        assert [heard(socket)["name"] for _ in names] == names
        pong(socket)


def watches(its_double: Double) -> int:
    return int(its_double.state()["open"].get("watch", 0))


def test_one_watch_for_all_and_none_for_nobody(its_server: SystemServer, its_double: Double) -> None:
    shop = fresh(its_double)
    with live_socket(its_server, "/ws/events") as one, live_socket(its_server, "/ws/events", "reader") as other:
        for socket in (one, other):
            listen(socket, f"k8s-events:{shop}")
            listen(socket, "k8s-events")
        wait_for(lambda: watches(its_double) == 2, "two watches")
        name = happen(its_double, shop)
        assert {heard(socket)["name"] for socket in (one, other, one, other)} == {name}
        assert watches(its_double) == 2
    wait_for(lambda: watches(its_double) == 0, "no watch")


@pytest.mark.parametrize("was_there", [True, False])
def test_it_goes_on_when_the_cluster_has_been_away(
    its_server: SystemServer, its_double: Double, was_there: bool
) -> None:
    away = fresh(its_double)
    with live_socket(its_server, "/ws/events") as socket:
        if was_there:
            listen(socket, f"k8s-events:{away}")
        its_double.stop()
        try:
            with live_socket(its_server, "/ws/events") as other:
                other.say("subscribe", payload={"channel": f"k8s-events:{away}"})
                assert other.hear()["code"] == "KUBERNETES_ERROR"  # the passage answers, and breaks off
                pong(other)
        finally:
            its_double.start()
        its_double.namespace(away)
        if was_there:
            wait_for(lambda: watches(its_double) == 1, "the watch")
        else:
            listen(socket, f"k8s-events:{away}")
        name = happen(its_double, away)
        assert heard(socket)["name"] == name


def test_where_no_cluster_is_and_who_may_not_watch(tmp_path: Path, its_double: Double) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with (
        system_server(tmp_path, f'kubeconfig = "{kubeconfig}"\n') as server,
        live_socket(server, "/ws/events") as socket,
    ):
        for content, code in (("", "KUBERNETES_NOT_INSTALLED"), (its_double.kubeconfig("nobody"), "PERMISSION_DENIED")):
            if content:
                shutil.copyfile(content, kubeconfig)
            with passage(server.machine, its_double.port):
                socket.say("subscribe", payload={"channel": "k8s-events"}, id=7)
                answer = socket.hear()
            assert (answer["code"], answer["id"]) == (code, 7)
            assert ("forbidden" in answer["error"]) == (code == "PERMISSION_DENIED")
            pong(socket)
