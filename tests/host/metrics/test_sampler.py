"""When samples are taken and who gets them, on a clock; the figures are this machine's."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from appliance.background import Background
from appliance.host.figures import CpuReading, Figures, load_average
from appliance.host.metrics import sampler as module
from appliance.host.metrics.counters import Counters, Operations, read_counters
from appliance.host.metrics.filesystems import FileSystems
from appliance.host.metrics.model import Sample, Traffic
from appliance.host.metrics.sampler import FIRST_WINDOW, RETRY, Sampler, disk_use, interface_use
from appliance.host.storage.tables import Mount
from appliance.host.storage.usage import Space
from tests.support.site import NoThreads

NOW = 1_800_000_003.0  # no multiple of anything


class SamplerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.background = Background()
        self.threads = NoThreads()
        file_systems = FileSystems(self.clock, self.threads)  # type: ignore[arg-type]  # threads of the test's own
        self.sampler = Sampler(self.clock, self.background, Figures(), file_systems)
        self.reads = 0

        def counted(now: float) -> Counters:
            self.reads += 1
            return read_counters(now)

        self.patch(module, "read_counters", counted)

    def listener(self, interval: int) -> tuple[list[Sample], Any]:
        """What a listener gets, and what ends it."""
        got: list[Sample] = []
        return got, self.sampler.listen(interval, got.append)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def test_nothing_is_read_while_nobody_listens(self) -> None:
        self.pass_time(100)
        self.assertEqual(self.reads, 0)
        self.assertFalse(self.sampler.running)

    def test_the_first_sample_comes_soon(self) -> None:
        got, _ = self.listener(60)
        self.assertIsNone(self.sampler.latest)
        self.clock.advance(FIRST_WINDOW)
        self.assertEqual(got, [self.sampler.latest])
        (sample,) = got
        self.assertEqual(sample.at, NOW + FIRST_WINDOW)
        self.assertGreater(sample.memory.total, 0)
        self.assertTrue(sample.disks and sample.interfaces and sample.cpu.per_core)

    def test_samples_come_at_whole_multiples_and_are_shared(self) -> None:
        two, _ = self.listener(2)
        self.pass_time(1.5)
        five, _ = self.listener(5)
        again, _ = self.listener(2)
        self.pass_time(20)
        self.assertTrue(all(int(sample.at) % 2 == 0 for sample in two[1:]))
        self.assertTrue(all(int(sample.at) % 5 == 0 for sample in five))
        self.assertEqual(again, two[-len(again) :])
        self.assertGreaterEqual(len(again), 9)
        self.assertGreaterEqual(len({id(sample) for sample in two} & {id(sample) for sample in five}), 2)

    def test_it_ends_with_the_last_listener(self) -> None:
        first, stop_first = self.listener(1)
        _, stop_second = self.listener(3)
        self.pass_time(5)
        stop_first()
        count = len(first)
        self.pass_time(5)
        self.assertEqual(len(first), count)
        stop_second()
        stop_second()
        reads = self.reads
        self.pass_time(100)
        self.assertEqual(self.reads, reads)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.sampler.latest)
        third, _ = self.listener(10)
        self.clock.advance(FIRST_WINDOW)
        self.assertEqual(len(third), 1)

    def test_who_leaves_before_the_first_sample(self) -> None:
        got, stop = self.listener(1)
        stop()
        other, _ = self.listener(1)
        self.pass_time(1)
        self.assertEqual(got, [])
        self.assertGreaterEqual(len(other), 1)

    def test_a_listener_that_fails_does_not_touch_the_others(self) -> None:
        def fail(sample: Sample) -> None:
            raise RuntimeError("as the test wants")

        self.sampler.listen(1, fail)
        got, _ = self.listener(1)
        self.pass_time(2.5)
        self.assertGreaterEqual(len(got), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), len(got))

    def test_figures_that_cannot_be_read_are_tried_again(self) -> None:
        got, _ = self.listener(2)
        self.patch(module, "load_average", self.unreadable)
        self.clock.advance(FIRST_WINDOW)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.patch(module, "load_average", load_average)
        self.clock.advance(RETRY)
        self.assertEqual(len(got), 1)
        self.patch(module, "load_average", self.unreadable)
        self.pass_time(2)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.patch(module, "load_average", load_average)
        self.pass_time(4)
        self.assertGreaterEqual(len(got), 2)

    def test_a_beginning_that_cannot_be_read_is_tried_again(self) -> None:
        self.patch(module, "read_counters", self.unreadable)
        got, _ = self.listener(2)
        self.clock.advance(FIRST_WINDOW)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.patch(module, "read_counters", read_counters)
        self.clock.advance(RETRY)
        self.clock.advance(FIRST_WINDOW)
        self.assertEqual(len(got), 1)

    def test_a_file_system_that_does_not_answer_keeps_nobody_waiting(self) -> None:
        self.threads.held = []
        got, _ = self.listener(1)
        self.pass_time(4)
        self.assertGreaterEqual(len(got), 1)
        self.assertEqual(got[0].disks, ())
        self.assertLess(len(self.threads.held), 3)
        self.threads.release()
        self.threads.held = None
        self.pass_time(3)
        self.assertGreater(got[-1].disks[0].total, 0)

    def test_a_sample_that_takes_long_is_not_overtaken(self) -> None:
        measuring: list[Deferred[Any]] = []

        async def measure() -> Any:
            measuring.append(Deferred())
            return await measuring[-1]

        self.patch(self.sampler, "_measure", measure)
        self.listener(1)
        self.pass_time(5)
        self.assertEqual(len(measuring), 1)
        measuring[0].callback(object())
        self.pass_time(1)
        self.assertEqual(len(measuring), 2)
        measuring[1].callback(object())

    def test_a_processor_that_comes_starts_the_measurement_anew(self) -> None:
        got, _ = self.listener(1)
        self.clock.advance(FIRST_WINDOW)
        counters = self.sampler._counters
        assert counters is not None
        fewer = CpuReading(counters.at, counters.processors.cores[1:])
        self.sampler._counters = Counters(counters.at, fewer, counters.devices, counters.interfaces)
        self.pass_time(3)
        self.assertGreaterEqual(len(got), 3)
        self.assertEqual(len(got[-1].cpu.per_core), len(counters.processors.cores))

    def unreadable(self, *_: float) -> Any:
        raise OSError("no /proc")


MOUNT = Mount("8:1", "/", "/data", "ext4", "/dev/sda1")


def counters(at: float, **devices: Operations) -> Counters:
    return Counters(at, CpuReading(at, ()), {"8:1": devices["sda1"]} if devices else {}, {})


class RateTests(SynchronousTestCase):
    def test_what_a_disk_does_in_a_second(self) -> None:
        before, after = (
            counters(10, sda1=Operations(100, 1000, 10, 500)),
            counters(12, sda1=Operations(110, 5000, 11, 500)),
        )
        use = disk_use(MOUNT, Space(60, 20, 100), before, after, 2.0)
        self.assertEqual((use.total, use.used, use.free, use.used_percent), (100, 60, 20, 75.0))
        self.assertEqual((use.io.reads, use.io.read_bytes, use.io.writes, use.io.write_bytes), (5.0, 2000.0, 0.5, 0.0))

    def test_a_disk_that_is_new_and_has_not_answered(self) -> None:
        use = disk_use(MOUNT, None, counters(10), counters(12, sda1=Operations(1, 1, 1, 1)), 2.0)
        self.assertEqual((use.total, use.used_percent, use.io.reads), (0, 0.0, 0.0))

    def test_what_an_interface_carries_in_a_second(self) -> None:
        before, after = Traffic(1000, 10, 0, 0, 2000, 20, 0, 0), Traffic(3000, 14, 1, 2, 2000, 20, 3, 4)
        use = interface_use("eth0", before, after, 2.0)
        self.assertEqual((use.rx_bytes, use.rx_packets, use.tx_bytes, use.tx_packets), (1000.0, 2.0, 0.0, 0.0))
        self.assertEqual(use.total, after)

    def test_an_interface_that_is_new_or_begins_anew(self) -> None:
        now = Traffic(5, 5, 5, 5, 5, 5, 5, 5)
        self.assertEqual(interface_use("eth0", None, now, 2.0).rx_bytes, 0.0)
        self.assertEqual(interface_use("eth0", Traffic(9, 9, 9, 9, 9, 9, 9, 9), now, 2.0).rx_bytes, 0.0)
        self.assertEqual(interface_use("eth0", now, now, 0.0).rx_bytes, 0.0)
