"""One server, a cluster, and a kubeconfig that changes: each change counts with the next request."""

import json
import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.passage import passage
from tests.support.machine import SystemServer, system_server

LIST = "/kubernetes/namespaces"
PLUGIN = '#!/bin/sh\necho run >>"$RUNS"\ncat "$SAYS"\n'


class Place:
    """The kubeconfig that the server looks at."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder
        self.path = folder / "kubeconfig"
        self._given = yaml.safe_load(cluster.kubeconfig("admin").read_text())
        self.administrator = self._given["users"][0]["user"]
        self.context = self._given["current-context"]
        self.cluster = self._given["clusters"][0]["name"]

    def write(self, user: Any = None, **cluster: Any) -> None:
        """Write it with another user, or changes to the cluster."""
        document = json.loads(json.dumps(self._given))
        if user is not None:
            document["users"][0]["user"] = user
        document["clusters"][0]["cluster"].update(cluster)
        fresh = self.put("fresh", yaml.safe_dump(document))
        fresh.rename(self.path)

    def put(self, name: str, content: str, mode: int = 0o600) -> Path:
        """Write a file beside it."""
        path = self.folder / name
        path.write_text(content)
        path.chmod(mode)
        return path


@pytest.fixture(scope="module")
def serving(any_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SystemServer, Place]]:
    folder = tmp_path_factory.mktemp("kubeconfigs")
    place = Place(folder, any_cluster)
    config = f'kubeconfig = "{place.path}"\n'
    with system_server(folder / "server", config) as server, passage(server.machine, any_cluster.port):
        yield server, place
        log = server.server.log.read_text()
        assert "Traceback" not in log
        assert any_cluster.tokens["admin"] not in log and "private-words" not in log


@pytest.fixture
def server(serving: tuple[SystemServer, Place]) -> SystemServer:
    return serving[0]


@pytest.fixture
def place(serving: tuple[SystemServer, Place]) -> Place:
    serving[1].write()
    return serving[1]


def refusal(server: SystemServer) -> tuple[int, str, str]:
    """How the list is refused."""
    answer = server.api("GET", LIST)
    return answer.status, answer.json["error"]["code"], answer.json["error"]["message"]


def works(server: SystemServer) -> bool:
    return "default" in [each["name"] for each in server.data(LIST)["namespaces"]]


def test_it_comes_goes_and_changes_without_a_restart(server: SystemServer, place: Place, cluster: Cluster) -> None:
    for _ in range(2):
        place.path.unlink()
        assert refusal(server) == (503, "KUBERNETES_NOT_INSTALLED", f"There is no kubeconfig at {place.path}")
        place.write()
        assert works(server)
    place.put("kubeconfig", "clusters: [{name: 7}]")
    assert refusal(server)[:2] == (503, "KUBERNETES_ERROR")
    place.write({"token": cluster.tokens["admin"]})
    assert works(server)


def test_nothing_answers_there(server: SystemServer, place: Place) -> None:
    place.write(server="https://127.0.0.1:1")
    assert refusal(server) == (503, "KUBERNETES_NOT_INSTALLED", "No cluster answers at 127.0.0.1:1")


def test_credentials_that_are_refused(server: SystemServer, place: Place, cluster: Cluster) -> None:
    for user in ({"token": "private-words"}, {"username": "u", "password": "private-words"}, {}):
        place.write(user)
        text = f"The cluster refuses our credentials (context {place.context})"
        assert refusal(server) == (503, "KUBERNETES_ERROR", text)
    place.write({"token": cluster.tokens["nobody"]})
    assert refusal(server)[:2] == (403, "PERMISSION_DENIED")


def test_an_authority_of_somebody_else(server: SystemServer, place: Place, cluster: Cluster) -> None:
    broken = yaml.safe_load(cluster.kubeconfig("broken-ca").read_text())["clusters"][0]["cluster"]
    place.write(**{"certificate-authority-data": broken["certificate-authority-data"]})
    status, code, message = refusal(server)
    assert (status, code) == (503, "KUBERNETES_ERROR")
    assert f"look at certificate-authority-data of cluster {place.cluster!r} in {place.path}" in message


def test_another_name_than_the_certificates(server: SystemServer, place: Place) -> None:
    place.write(**{"tls-server-name": "localhost"})
    assert works(server)
    place.write(**{"tls-server-name": "elsewhere"})
    assert "not for elsewhere: look at tls-server-name" in refusal(server)[2]


def test_a_token_in_a_file_that_is_rotated(server: SystemServer, place: Place, cluster: Cluster) -> None:
    place.write({"tokenFile": "token"})
    for token, good in ((cluster.tokens["admin"], True), ("private-words", False), (cluster.tokens["admin"], True)):
        place.put("token", f"{token}\n")
        assert server.api("GET", LIST).status == (200 if good else 503)


def test_a_plugin(server: SystemServer, place: Place, cluster: Cluster) -> None:
    place.put("plugin", PLUGIN, 0o700)
    says, runs = place.folder / "says", place.folder / "runs"
    variables = [{"name": "SAYS", "value": str(says)}, {"name": "RUNS", "value": str(runs)}]
    version = "client.authentication.k8s.io/v1"
    plugin = {"apiVersion": version, "command": "./plugin", "interactiveMode": "Never", "env": variables}
    token = {"token": cluster.tokens["admin"]}
    pair = {
        "clientCertificateData": b64decode(place.administrator["client-certificate-data"]).decode(),
        "clientKeyData": b64decode(place.administrator["client-key-data"]).decode(),
    }
    for status, good in ((token, True), ({"token": "private-words"}, False), ({}, False), (pair, True)):
        place.put("says", json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status}))
        place.write({"exec": plugin})
        runs.unlink(missing_ok=True)
        for _ in range(2):
            assert server.api("GET", LIST).status == (200 if good else 503)
        assert runs.read_text() == "run\n" * (2 if not status else 1)


def test_one_that_others_could_have_written(server: SystemServer, place: Place) -> None:
    place.path.chmod(0o602)
    assert "users other than root may write to" in refusal(server)[2]
    place.write()
    os.chown(place.path, 12345, 0)
    assert "belongs to uid 12345" in refusal(server)[2]
