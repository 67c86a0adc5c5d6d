"""The double answers as a real API server does; both are asked the same."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.likeness import play
from tests.support.kubernetes.scenarios import SCENARIOS, describe

ANSWERS: dict[str, list[Any]] = json.loads((Path(__file__).parent / "answers.json").read_text())


OBJECTS = {
    "configmaps": {"kind": "ConfigMap", "data": {"a": "1"}},
    "secrets": {"kind": "Secret", "data": {"a": "MQ=="}},
    "services": {"kind": "Service", "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}},
    "pods": {"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "x:1"}], "schedulerName": "nobody"}},
}


@pytest.mark.parametrize("plural", OBJECTS)
def test_only_a_change_makes_a_version(cluster: Cluster, plural: str) -> None:
    """What is applied again is the same object still; a further manager is a change."""
    namespace = cluster.namespace(f"versions-{uuid.uuid4().hex[:8]}")
    path = f"/api/v1/namespaces/{namespace}/{plural}/one"
    document = {"apiVersion": "v1", "metadata": {"name": "one"}, **OBJECTS[plural]}

    def version(manager: str) -> int:
        return int(cluster.must(cluster.apply(path, document, manager))["metadata"]["resourceVersion"])

    begin = version("one")
    assert version("one") == begin
    shared = version("two")
    assert shared > begin and version("two") == shared == version("one")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_answer_is_that_of_the_real_server(cluster: Cluster, scenario: str) -> None:
    """`answers.json` has what kube-apiserver 1.20.2 answered; the whole of each answer counts."""
    answers = list(play(cluster, SCENARIOS[scenario]))
    assert len(answers) == len(ANSWERS[scenario])
    for (step, answer), recorded in zip(answers, ANSWERS[scenario], strict=True):
        assert answer == recorded, describe(step)
