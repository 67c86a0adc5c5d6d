"""Single objects and logs: what is asked of the cluster, and what its answers mean."""

from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Invalid
from appliance.host.kubernetes.errors import ClusterError
from appliance.host.kubernetes.kinds import NAMESPACES, PODS, SERVICES, Kind
from appliance.host.kubernetes.logs import PodLogOptions, PodLogs
from appliance.host.kubernetes.objects import Deletion, Objects, is_secret, namespace_of
from appliance.host.kubernetes.views import common_view, view_of
from tests.support.scripted_cluster import Here, ScriptedCluster

ENDS = {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"}


class ObjectsTests(TestCase):
    def objects(self, *answers: Any) -> Objects:
        self.cluster = ScriptedCluster(answers)
        return Objects(Clock(), cast(Any, Here()), cast(Any, self.cluster))

    def delete(self, answer: Any, deletion: Deletion | None = None, kind: Kind = PODS) -> str:
        namespace = "ns" if kind.namespaced else "-"
        deleting = self.objects(answer).delete(kind, namespace, "p", deletion or Deletion())
        return self.successResultOf(Deferred.fromCoroutine(deleting))

    def test_an_object_that_is_nested_too_deep(self) -> None:
        for whole in (True, False):
            for depth, error in ((199, None), (200, ClusterError), (900, ClusterError)):
                deep: Any = 1
                for _ in range(depth):
                    deep = {"a": deep}
                objects = self.objects({"metadata": {"name": "p"}, "spec": deep})
                getting = Deferred.fromCoroutine(objects.get(PODS, common_view(PODS), "ns", "p", whole=whole))
                if error is None:
                    assert msgspec.json.encode(self.successResultOf(getting).content).count(b"{") == depth + 2
                else:
                    self.failureResultOf(getting, error)

    def test_what_is_deleted_at_once(self) -> None:
        status = {"kind": "Status", "metadata": {}, "status": "Success", "details": {"name": "p"}}
        assert self.delete(status, kind=SERVICES) == "Service ns/p deleted"
        now = {"kind": "Pod", "metadata": {**ENDS, "deletionGracePeriodSeconds": 0}}
        assert self.delete(now) == "Pod ns/p deleted"
        assert self.delete({"kind": "Thing", "metadata": {"name": "p"}}) == "Pod ns/p deleted"

    def test_what_comes_to_an_end_first(self) -> None:
        ends = {"kind": "Pod", "metadata": {**ENDS, "deletionGracePeriodSeconds": 30}}
        assert self.delete(ends) == "Pod ns/p is being deleted"
        held = {"kind": "Pod", "metadata": {**ENDS, "deletionGracePeriodSeconds": 0, "finalizers": ["x"]}}
        assert self.delete(held) == "Pod ns/p is being deleted"
        assert self.delete({"kind": "Namespace", "metadata": ENDS}, kind=NAMESPACES) == "Namespace p is being deleted"

    def test_how_to_delete(self) -> None:
        assert self.delete({}, Deletion(5, "Orphan", dry_run=True)) == "Pod ns/p would be deleted"
        (asked,) = self.cluster.asked
        assert (asked.method, asked.path) == ("DELETE", "/api/v1/namespaces/ns/pods/p")
        assert msgspec.json.decode(asked.options["content"]) == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 5,
            "propagationPolicy": "Orphan",
            "dryRun": ["All"],
        }
        self.delete({})
        assert msgspec.json.decode(self.cluster.asked[0].options["content"]) == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
        }

    def test_whole_or_masked(self) -> None:
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "args": ["s3cret"]}]}}
        for whole, args in ((True, ["s3cret"]), (False, ["***"])):
            getting = self.objects(pod).get(PODS, view_of(PODS), "ns", "p", whole=whole)
            found = self.successResultOf(Deferred.fromCoroutine(getting))
            assert found.row.name == "p" and found.content["spec"]["containers"][0]["args"] == args

    def test_names_are_checked_before_anything_is_asked(self) -> None:
        for namespace, name in (("ns", "../x"), ("ns", ""), ("", "p"), ("a/b", "p"), ("-", "p"), ("..", "p")):
            getting = self.objects().get(PODS, view_of(PODS), namespace, name, whole=True)
            self.failureResultOf(Deferred.fromCoroutine(getting), Invalid)
            assert self.cluster.asked == []

    def test_no_namespace(self) -> None:
        assert namespace_of(NAMESPACES, "-") == namespace_of(NAMESPACES, "") == ""
        with self.assertRaises(Invalid):
            namespace_of(NAMESPACES, "default")

    def test_secrets_of_any_version(self) -> None:
        assert is_secret(Kind("", "v2", "secrets", "Secret", built_in=False))
        assert not is_secret(Kind("example.com", "v1", "secrets", "Secret", built_in=False))


class LogTests(TestCase):
    def open(self, options: PodLogOptions) -> dict[str, str]:
        asked = []

        class Client:
            async def open(self, method: str, path: str, query: dict[str, str], *, accept: str) -> None:
                assert (method, path) == ("GET", "/api/v1/namespaces/ns/pods/p/log")
                asked.append(query)

        opening = PodLogs(cast(Any, Client())).open("ns", "p", options)
        self.successResultOf(Deferred.fromCoroutine(opening))
        return asked[0]

    def test_what_is_asked_for(self) -> None:
        none = {"follow": "false", "previous": "false", "timestamps": "false"}
        assert self.open(PodLogOptions()) == none
        everything = PodLogOptions("c", 5, 1.9, timestamps=True, follow=True, previous=True)
        assert self.open(everything) == {
            "follow": "true",
            "previous": "true",
            "timestamps": "true",
            "container": "c",
            "tailLines": "5",
            "sinceTime": "1970-01-01T00:00:01Z",
        }
