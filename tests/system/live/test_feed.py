"""Samples on their way to many clients, on a clock."""

from collections.abc import Callable
from typing import Any, cast

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.host.metrics.sampler import Sampler
from appliance.system.live.feed import SLOT_SECONDS, SLOTS, SMALLEST_SLOT, Feed, Member
from appliance.system.live.peer import Peer


class Source:
    """In the place of the sampler: the test says when there is a sample, which is a number."""

    def __init__(self) -> None:
        self.latest: Any = None
        self.listeners: dict[int, list[Callable[[Any], None]]] = {}

    def listen(self, interval: int, listener: Callable[[Any], None]) -> Callable[[], None]:
        self.listeners.setdefault(interval, []).append(listener)
        return lambda: self.listeners[interval].remove(listener)

    def give(self, interval: int, sample: int) -> None:
        self.latest = sample
        for listener in self.listeners[interval]:
            listener(sample)


class Reader:
    """A client that keeps what it gets."""

    def __init__(self) -> None:
        self.slow = False
        self.got: list[bytes] = []

    def send_prepared(self, frame: bytes) -> None:
        self.got.append(frame)


class FeedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.source = Source()
        self.renderings = 0
        self.feed = Feed(self.clock, cast(Sampler, self.source), self.render)

    def render(self, sample: Any) -> dict[str, bytes]:
        self.renderings += 1
        return {"a": msgspec.json.encode({"a": sample}), "b": msgspec.json.encode({"b": sample})}

    def reader(self, interval: int = 1, *wanted: str) -> tuple[Reader, Member]:
        reader = Reader()
        member = Member(cast(Peer, reader), interval, frozenset(wanted) if wanted else None)
        self.feed.join(member)
        return reader, member

    def pass_slots(self, count: int) -> None:
        self.clock.pump([SLOT_SECONDS] * count)

    def test_a_sample_goes_to_all_and_is_encoded_once(self) -> None:
        readers = [self.reader()[0] for _ in range(100)]
        self.source.give(1, 7)
        self.pass_slots(SLOTS)
        self.assertEqual({tuple(reader.got) for reader in readers}, {(b'\x81\x07{"a":7}\x81\x07{"b":7}',)})
        self.assertEqual(self.renderings, 1)

    def test_it_goes_to_a_few_at_a_time(self) -> None:
        readers = [self.reader()[0] for _ in range(1000)]
        self.source.give(1, 7)
        served = []
        for _ in range(SLOTS):
            served.append(sum(len(reader.got) for reader in readers))
            self.pass_slots(1)
        self.assertEqual(served, list(range(40, 1001, 40)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_new_one_gets_the_latest_at_once(self) -> None:
        self.reader()
        self.source.give(1, 7)
        late, _ = self.reader(1, "b")
        self.assertEqual(late.got, [b'\x81\x07{"b":7}'])
        self.assertEqual(self.renderings, 1)

    def test_only_what_is_wanted(self) -> None:
        a, _ = self.reader(1, "a")
        both, _ = self.reader(1, "b", "a")
        self.source.give(1, 7)
        self.assertEqual(a.got, [b'\x81\x07{"a":7}'])
        self.assertEqual(both.got, [b'\x81\x07{"a":7}\x81\x07{"b":7}'])

    def test_intervals_are_apart(self) -> None:
        one, _ = self.reader(1)
        five, _ = self.reader(5)
        self.source.give(1, 7)
        self.assertEqual((len(one.got), len(five.got)), (1, 0))

    def test_who_is_slow_misses_a_sample_and_nothing_waits_for_him(self) -> None:
        slow, _ = self.reader(1, "a")
        slow.slow = True
        for sample in range(5):
            self.source.give(1, sample)
        slow.slow = False
        self.source.give(1, 9)
        self.assertEqual(slow.got, [b'\x81\x07{"a":9}'])

    def test_who_still_waits_gets_the_newer_sample(self) -> None:
        readers = [self.reader(1, "a")[0] for _ in range(3 * SMALLEST_SLOT)]
        self.source.give(1, 1)
        self.source.give(1, 2)
        self.pass_slots(SLOTS)
        self.assertEqual({reader.got[-1] for reader in readers}, {b'\x81\x07{"a":2}'})
        self.assertEqual({len(reader.got) for reader in readers[SMALLEST_SLOT:]}, {1})

    def test_who_leaves_gets_nothing_more(self) -> None:
        readers = [self.reader() for _ in range(3 * SMALLEST_SLOT)]
        self.source.give(1, 1)
        for _, member in readers:
            self.feed.leave(member)
            self.feed.leave(member)
        self.pass_slots(SLOTS)
        self.assertEqual(sum(len(reader.got) for reader, _ in readers), SMALLEST_SLOT)
        self.assertEqual(self.source.listeners, {1: []})
        self.assertEqual(self.clock.getDelayedCalls(), [])
