"""Kinds: known by heart, or asked for."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from appliance.host.errors import Forbidden, Unknown
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kinds import BUILT_IN, DEFINITIONS, PODS, Kind, Kinds
from tests.support.scripted_cluster import ScriptedCluster

GROUP = {
    "versions": [{"version": "v1alpha1"}, {"version": "v1"}],
    "preferredVersion": {"version": "v1"},
}
THINGS = {"resources": [{"name": "things/status"}, {"name": "things", "kind": "Thing", "namespaced": True}]}


class KindsTests(TestCase):
    def named(self, name: str, *answers: Any) -> Deferred[Kind]:
        self.cluster = ScriptedCluster(answers)
        return Deferred.fromCoroutine(Kinds(cast(Any, self.cluster)).named(name))

    def paths(self) -> list[str]:
        return [each.path for each in self.cluster.asked]

    def test_those_that_are_built_in_are_not_asked_for(self) -> None:
        for kind in BUILT_IN:
            assert self.successResultOf(self.named(kind.plural)) is kind
            assert kind.name == kind.plural
        assert self.successResultOf(self.named("crds")) is DEFINITIONS
        assert self.paths() == []

    def test_paths(self) -> None:
        assert PODS.collection() == "/api/v1/pods"
        assert PODS.path("ns", "p") == "/api/v1/namespaces/ns/pods/p"
        assert DEFINITIONS.path("", "x") == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x"
        assert (PODS.api_version, DEFINITIONS.api_version) == ("v1", "apiextensions.k8s.io/v1")

    def test_the_preferred_version_that_has_it(self) -> None:
        kind = self.successResultOf(self.named("things.example.com", GROUP, THINGS))
        assert kind == Kind("example.com", "v1", "things", "Thing", namespaced=True, built_in=False)
        assert kind.name == "things.example.com"
        assert self.paths() == ["/apis/example.com", "/apis/example.com/v1"]
        kind = self.successResultOf(self.named("things.example.com", GROUP, {"resources": None}, THINGS))
        assert kind.version == "v1alpha1"

    def test_a_kind_that_changed_its_version(self) -> None:
        jobs = {"resources": [{"name": "cronjobs", "kind": "CronJob", "namespaced": True}]}
        versions = {"versions": [{"version": "v1"}, {"version": "v1beta1"}], "preferredVersion": {"version": "v1"}}
        kind = self.successResultOf(self.named("cronjobs", versions, {"resources": []}, jobs))
        assert (kind.api_version, kind.built_in, kind.name) == ("batch/v1beta1", True, "cronjobs")

    def test_names_by_which_a_cluster_would_lead_elsewhere(self) -> None:
        for odd in ("..", "a/../../b", "a?b", "a b\r\nX: y", "\u00e4", ""):
            group = {"versions": [{"version": odd}, {"version": "v1"}], "preferredVersion": {"version": odd}}
            assert self.successResultOf(self.named("things.example.com", group, THINGS)).version == "v1"
            assert self.paths() == ["/apis/example.com", "/apis/example.com/v1"]
            resources = {"resources": [{"name": odd, "kind": "Thing"}, *THINGS["resources"]]}
            cluster: Any = ScriptedCluster([resources])
            finding = Deferred.fromCoroutine(Kinds(cluster).of_object("example.com/v1", "Thing"))
            assert self.successResultOf(finding).plural == "things"

    def test_what_there_is_not(self) -> None:
        for name in ("nosuch", "", "-", "a/b.example.com", "things.", "things.UPPER", ".example.com", "things..com"):
            self.failureResultOf(self.named(name), Unknown)
            assert self.paths() == []
        self.failureResultOf(self.named("things.example.com", Unknown("404")), Unknown)
        self.failureResultOf(
            self.named("things.example.com", GROUP, Unknown("404"), THINGS["resources"][:1]), ClusterError
        )
        self.failureResultOf(self.named("others.example.com", GROUP, THINGS, THINGS), Unknown)

    def test_what_goes_wrong_is_told(self) -> None:
        for error in (Forbidden("no"), ClusterError("away")):
            failure = self.failureResultOf(self.named("things.example.com", error), type(error))
            assert failure.value is error
