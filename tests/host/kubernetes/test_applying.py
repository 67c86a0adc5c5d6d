"""Server-side apply: what is sent, in which order, and what is said where one of several is refused."""

import json
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Conflict, Forbidden, HostError, Invalid, Unknown
from appliance.host.kubernetes.applying import Applied, Applier, Applying, Interrupted
from appliance.host.kubernetes.errors import ClusterError, Rejected
from appliance.host.kubernetes.kinds import DEPLOYMENTS, PODS, Kind, Kinds, defined_by
from appliance.system.envelope import translate
from tests.support.scripted_cluster import Here, ScriptedCluster

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}
AS_USUAL = Applying()


def thing(kind: str, name: str, api_version: str = "v1", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}}


class ApplyingTests(TestCase):
    def apply(
        self, objects: list[dict[str, Any]], *answers: Any, how: Applying = AS_USUAL, only: Kind | None = None
    ) -> Deferred[list[Applied]]:
        self.clock = Clock()
        self.cluster = ScriptedCluster(answers)
        client, threads = cast(Any, self.cluster), cast(Any, Here())
        applier = Applier(self.clock, threads, client, Kinds(client))

        async def run() -> list[Applied]:
            body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()
            planned = await applier.plan(await applier.read(body, is_yaml=False), only)
            return await applier.apply(planned, how)

        return Deferred.fromCoroutine(run())

    def test_what_is_sent(self) -> None:
        pod = thing("Pod", "p", namespace="ns")
        (done,) = self.successResultOf(self.apply([pod], (201, pod), how=Applying(force=True, dry_run=True)))
        assert (done.namespace, done.name, done.created, done.kind) == ("ns", "p", True, PODS)
        (asked,) = self.cluster.asked
        assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/ns/pods/p")
        assert asked.query == {"fieldManager": "appliance", "force": "true", "dryRun": "All"}
        assert asked.options["content_type"] == "application/apply-patch+yaml"
        assert json.loads(asked.options["content"]) == pod

    def test_where_it_goes_by_default(self) -> None:
        objects = [thing("Namespace", "new"), thing("Pod", "p")]
        done = self.successResultOf(self.apply(objects, objects[0], objects[1]))
        assert [(each.namespace, each.created) for each in done] == [("", False), ("here", False)]
        assert [each.path for each in self.cluster.asked] == [
            "/api/v1/namespaces/new",
            "/api/v1/namespaces/here/pods/p",
        ]
        assert json.loads(self.cluster.asked[1].options["content"])["metadata"]["namespace"] == "here"
        assert self.cluster.asked[1].query == {"fieldManager": "appliance", "force": "false"}

    def test_nothing_is_sent_where_something_is_wrong(self) -> None:
        wrong = [
            [thing("Pod", "p"), thing("Namespace", "n", namespace="other")],
            [thing("Pod", "p"), thing("Pod", "p")],
        ]
        for objects in wrong:
            self.failureResultOf(self.apply(objects), Invalid)
            assert self.cluster.asked == []
        self.failureResultOf(self.apply([thing("Pod", "p"), thing("Service", "s")], only=PODS), Invalid)
        self.failureResultOf(self.apply([thing("Deployment", "p", "extensions/v1")], only=DEPLOYMENTS), Invalid)
        assert self.cluster.asked == []
        unknown = [thing("Pod", "p"), thing("Thing", "t", "example.com/v1")]
        self.failureResultOf(self.apply(unknown, Unknown("no such group")), Invalid)
        assert [each.path for each in self.cluster.asked] == ["/apis/example.com/v1"]

    def test_a_kind_that_the_cluster_knows(self) -> None:
        resources = {"resources": [{"name": "things/status", "kind": "Thing"}, {"name": "things", "kind": "Thing"}]}
        done = self.successResultOf(self.apply([thing("Thing", "t", "example.com/v1")], resources, thing("Thing", "t")))
        assert self.cluster.asked[1].path == "/apis/example.com/v1/things/t"
        both = [thing("Thing", name, "example.com/v1") for name in "ab"]
        self.successResultOf(self.apply(both, resources, both[0], both[1]))  # asked for once
        assert done[0].kind.built_in is False and done[0].kind.namespaced is False

    def test_a_kind_that_is_defined_before_it(self) -> None:
        made = thing("Thing", "t", "example.com/v1")
        applied = self.apply([DEFINITION, made], (201, DEFINITION), Unknown("404"), Unknown("404"), (201, made))
        self.assertNoResult(applied)
        self.clock.pump([0.25, 0.25])
        assert [each.created for each in self.successResultOf(applied)] == [True, True]
        assert {each.path for each in self.cluster.asked[1:]} == {"/apis/example.com/v1/namespaces/here/things/t"}

    def test_it_does_not_wait_for_ever(self) -> None:
        made = thing("Thing", "t", "example.com/v1")
        applied = self.apply([DEFINITION, made], (201, DEFINITION), *[Unknown("404")] * 60)
        self.clock.pump([0.25] * 50)
        self.failureResultOf(applied, Interrupted)
        dry = self.apply([DEFINITION, made], (201, DEFINITION), Unknown("404"), how=Applying(dry_run=True))
        self.failureResultOf(dry, Interrupted)

    def test_one_of_several_is_refused(self) -> None:
        objects = [thing(kind, "x") for kind in ("Namespace", "Pod", "Service", "ConfigMap")]
        applied = self.apply(objects, objects[0], objects[1], Conflict("conflict with kubectl"))
        error = self.failureResultOf(applied, Interrupted).value
        assert error.details == (
            "applied: Namespace x, Pod here/x; refused: Service here/x; not tried: ConfigMap here/x"
        )
        answer = translate(error)
        assert answer is not None and answer.status == 409 and answer.fields == {"details": error.details}
        assert answer.message == "Service here/x: conflict with kubectl"
        broken = self.failureResultOf(self.apply(objects, objects[0], ClusterError("gone"))).value
        assert broken.details.startswith("applied: Namespace x; failed: Pod here/x; not tried: ")
        first = self.failureResultOf(self.apply(objects, Forbidden("no"))).value
        assert first.details.startswith("applied: none; refused: Namespace x; not tried: Pod here/x, ")

    def test_one_alone_is_refused(self) -> None:
        for error in (Conflict("x"), Rejected("y"), ClusterError("z")):
            failure = self.failureResultOf(self.apply([thing("Pod", "p")], error), HostError)
            assert failure.value is error

    def test_what_does_not_fit_its_schema_is_no_failure_of_the_cluster(self) -> None:
        for words in (
            "failed to create typed patch object: .spec.nope: field not declared in schema",
            "failed to convert new object to proper version: cannot convert float64 to int32",
            'strconv.ParseUint: parsing "a b": invalid syntax',
        ):
            error = ClusterError(f"Kubernetes: {words}")
            failure = self.failureResultOf(self.apply([thing("Pod", "p")], error), Rejected)
            assert str(failure.value) == words


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"group": "example.com"},
        {"group": "../x", "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1"}]},
        {"group": "example.com", "names": {"plural": "a/b", "kind": "Thing"}, "versions": [{"name": "v1"}]},
        {"group": "example.com", "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "../v1"}]},
        {"group": 1},
    ],
)
def test_definitions_that_are_not_in_order(spec: Any) -> None:
    assert defined_by({**DEFINITION, "spec": spec}) == []


def test_a_definition() -> None:
    (kind,) = defined_by(DEFINITION)
    assert kind == Kind("example.com", "v1", "things", "Thing", namespaced=True, built_in=False)
    assert kind.path("ns", "t") == "/apis/example.com/v1/namespaces/ns/things/t"
