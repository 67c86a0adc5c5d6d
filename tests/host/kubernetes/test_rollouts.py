"""How rollouts stand."""

from typing import Any, cast

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Conflict
from appliance.host.kubernetes.kinds import DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS, Kind
from appliance.host.kubernetes.rollouts import Rollouts, progress
from appliance.host.kubernetes.wire import Workload
from tests.support.scripted_cluster import ScriptedCluster

LOOKED_AT = {"observedGeneration": 2}
OVERDUE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]


@pytest.mark.parametrize(
    ("kind", "spec", "status", "message"),
    [
        (DEPLOYMENTS, {}, {"observedGeneration": 1}, "The cluster has not looked at the newest template yet"),
        (DEPLOYMENTS, {"replicas": 2}, {"updatedReplicas": 1}, "1 of 2 new pods are there"),
        (DEPLOYMENTS, {"replicas": 1}, {"replicas": 2, "updatedReplicas": 1}, "1 old pods have not ended yet"),
        (DEPLOYMENTS, {}, {"replicas": 1, "updatedReplicas": 1}, "0 of 1 new pods are available"),
        (DEPLOYMENTS, {}, {"conditions": OVERDUE}, "It has exceeded its progress deadline"),
        (DEPLOYMENTS, {}, {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, ""),
        (DEPLOYMENTS, {"replicas": 0}, {}, ""),
        (STATEFUL_SETS, {}, {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, ""),
        (
            STATEFUL_SETS,
            {"updateStrategy": {"type": "OnDelete"}},
            {},
            "Pods are replaced only when",
        ),
        (DAEMON_SETS, {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}, "0 of 2 new pods are available"),
        (
            DAEMON_SETS,
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
            "",
        ),
    ],
)
def test_progress(kind: Kind, spec: dict[str, Any], status: dict[str, Any], message: str) -> None:
    content = {"metadata": {"name": "x", "generation": 2}, "spec": spec, "status": {**LOOKED_AT, **status}}
    found = progress(kind, msgspec.convert(content, Workload))
    assert found.complete is (message == "")
    assert found.message.startswith(message or "It is complete")


class RestartTests(TestCase):
    def restart(self, *answers: Any) -> Deferred[str]:
        clock = Clock()
        self.cluster = ScriptedCluster(answers)
        client = cast(Any, self.cluster)
        rollouts = Rollouts(clock, client)
        return Deferred.fromCoroutine(rollouts.restart(DEPLOYMENTS, "ns", "web"))

    def test_what_is_sent(self) -> None:
        moment = self.successResultOf(self.restart({"metadata": {"name": "web"}}, {}))
        assert moment == "1970-01-01T00:00:00.000+00:00"
        patch = self.cluster.asked[1]
        assert (patch.method, patch.path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/web")
        assert patch.query == {"fieldManager": "appliance"}
        assert patch.options["content_type"] == "application/strategic-merge-patch+json"
        annotations = {"kubectl.kubernetes.io/restartedAt": moment}
        assert msgspec.json.decode(patch.options["content"]) == {
            "spec": {"template": {"metadata": {"annotations": annotations}}}
        }

    def test_a_paused_one(self) -> None:
        self.failureResultOf(self.restart({"metadata": {"name": "web"}, "spec": {"paused": True}}), Conflict)
        assert len(self.cluster.asked) == 1
