"""Lists: all pages of them, begun anew where the cluster has forgotten them, and made once for all who ask."""

from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Invalid, Unavailable
from appliance.host.kubernetes.errors import ClusterError, Expired
from appliance.host.kubernetes.kinds import NAMESPACES, PODS
from appliance.host.kubernetes.listing import ITEMS_LIMIT, PAGE, Listed, Listing, Selection
from appliance.host.kubernetes.views import view_of
from tests.support.scripted_cluster import Here, ScriptedCluster

EVERYTHING = Selection()


def page(*names: str, goes_on: str = "") -> dict[str, Any]:
    return {"items": [{"metadata": {"name": name}} for name in names], "metadata": {"continue": goes_on}}


def names(listed: Listed) -> list[str]:
    found = [each["name"] for each in msgspec.json.decode(listed.rows)]
    assert len(found) == listed.count
    return found


class ListingTests(TestCase):
    def listing(self, *answers: Any) -> Listing:
        self.clock = Clock()
        self.cluster = ScriptedCluster(answers)
        return Listing(self.clock, cast(Any, Here()), cast(Any, self.cluster))

    def all(self, listing: Listing, selection: Selection = EVERYTHING) -> Deferred[Listed]:
        return Deferred.fromCoroutine(listing.all(PODS, view_of(PODS), selection))

    def test_all_pages(self) -> None:
        listing = self.listing(page("a", "b", goes_on="1"), page("c", goes_on="2"), page("d"))
        selection = Selection("ns", "app=web", "spec.nodeName=x")
        listed = self.successResultOf(self.all(listing, selection))
        assert names(listed) == ["a", "b", "c", "d"] and listed.continued == ""
        assert [each.path for each in self.cluster.asked] == ["/api/v1/namespaces/ns/pods"] * 3
        first = {"limit": str(PAGE), "labelSelector": "app=web", "fieldSelector": "spec.nodeName=x"}
        assert [each.query for each in self.cluster.asked] == [
            first,
            {**first, "continue": "1"},
            {**first, "continue": "2"},
        ]

    def test_a_list_that_was_forgotten_begins_anew(self) -> None:
        listing = self.listing(page("a", goes_on="1"), Expired("too old"), page("b", goes_on="2"), page("c"))
        assert names(self.successResultOf(self.all(listing))) == ["b", "c"]
        assert [each.query.get("continue") for each in self.cluster.asked] == [None, "1", None, "2"]

    def test_not_for_ever(self) -> None:
        listing = self.listing(*[page("a", goes_on="1"), Expired("too old")] * 5)
        self.failureResultOf(self.all(listing), ClusterError)
        assert len(self.cluster.asked) == 6

    def test_a_single_page(self) -> None:
        listing = self.listing(page("a", goes_on="next"))
        asked = listing.page(NAMESPACES, view_of(NAMESPACES), EVERYTHING, 1, "before")
        listed = self.successResultOf(Deferred.fromCoroutine(asked))
        assert names(listed) == ["a"] and listed.continued == "next"
        assert self.cluster.asked[0].query == {"limit": "1", "continue": "before"}

    def test_a_page_that_was_forgotten(self) -> None:
        listing = self.listing(Expired("too old"))
        asked = listing.page(PODS, view_of(PODS), EVERYTHING, 1, "before")
        failure = self.failureResultOf(Deferred.fromCoroutine(asked), Invalid)
        assert failure.value.field == "continue"

    def test_more_than_can_be_held(self) -> None:
        large = page(*[str(number) for number in range(ITEMS_LIMIT // 2 + 1)], goes_on="more")
        self.failureResultOf(self.all(self.listing(large, large)), Unavailable)

    def test_who_waits_for_the_same_shares_it(self) -> None:
        gate: Deferred[Any] = Deferred()
        listing = self.listing(gate, page("other"), page("new"))
        early = self.all(listing)
        late = [self.all(listing), self.all(listing)]
        other = self.all(listing, Selection("ns"))
        assert names(self.successResultOf(other)) == ["other"]
        gate.callback(page("old"))
        assert names(self.successResultOf(early)) == ["old"]
        first, second = (self.successResultOf(each) for each in late)
        assert first is second and names(first) == ["new"]
        assert len(self.cluster.asked) == 3

    def test_a_large_one_goes_to_one_after_the_other(self) -> None:
        gate: Deferred[Any] = Deferred()
        listing = self.listing(gate, page(*[f"pod-{number}" for number in range(2000)]))
        early = self.all(listing)
        waiting = [self.all(listing) for _ in range(3)]
        gate.callback(page())
        assert self.successResultOf(early).count == 0
        for each in waiting:
            self.assertNoResult(each)
        assert len(self.clock.getDelayedCalls()) == 1  # that of the first, whom the others wait for
        self.clock.advance(0)
        for each in waiting:
            assert self.successResultOf(each).count == 2000

    def test_a_failure_is_not_kept(self) -> None:
        listing = self.listing(Unavailable("not now"), page("a"))
        self.failureResultOf(self.all(listing), Unavailable)
        assert names(self.successResultOf(self.all(listing))) == ["a"]

    def test_no_end_of_different_ones(self) -> None:
        listing = self.listing(*[page("a")] * 250)
        for number in range(250):
            assert self.successResultOf(self.all(listing, Selection(labels=f"a={number}"))).count == 1
        assert len(listing._shared) <= 100

    def test_it_ends_although_the_cluster_does_not(self) -> None:
        listing = self.listing(Deferred())
        waiting = self.all(listing)
        self.clock.advance(121)
        self.failureResultOf(waiting, ClusterError)

    def test_what_is_no_list(self) -> None:
        unusable: list[Any] = [[], {"items": [1]}, {"items": [{"metadata": {"name": 1}}]}]
        for nonsense in unusable:
            self.failureResultOf(self.all(self.listing(nonsense)), ClusterError)
