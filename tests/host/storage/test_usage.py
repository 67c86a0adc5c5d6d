import os
import threading
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.host.storage import usage as usage_module
from appliance.host.storage.usage import Space, Usage
from appliance.threads import Threads

reactor: Any = global_reactor


class UsageTests(TestCase):
    def setUp(self) -> None:
        self.usage = Usage(reactor, Threads(reactor))

    async def test_the_figures_are_those_of_df(self) -> None:
        space = (await self.usage.measure(["/"]))["/"]
        found = os.statvfs("/")
        self.assertAlmostEqual(space.used, (found.f_blocks - found.f_bfree) * found.f_frsize, delta=256 << 20)
        self.assertAlmostEqual(space.available, found.f_bavail * found.f_frsize, delta=256 << 20)

    async def test_what_is_gone_has_no_figures(self) -> None:
        self.assertEqual(await self.usage.measure(["/no/such/place"]), {})

    async def test_one_that_does_not_answer_keeps_nobody_waiting(self) -> None:
        go, asked = threading.Event(), []

        def statvfs(path: str) -> os.statvfs_result:
            asked.append(path)
            if path == "/dead":
                go.wait(30)
            return os.statvfs("/")

        self.patch(usage_module, "os", type("os", (), {"statvfs": staticmethod(statvfs)}))
        self.patch(usage_module, "_WAIT", 0.05)
        self.addCleanup(go.set)
        self.assertEqual(set(await self.usage.measure(["/alive", "/dead", "/later"])), {"/alive"})
        self.assertEqual(set(await self.usage.measure(["/alive", "/dead", "/later"])), {"/alive", "/later"})
        self.assertEqual(asked.count("/dead"), 1)

    async def test_a_late_answer_is_kept_whoever_asks_meanwhile(self) -> None:
        go, answered = threading.Event(), threading.Event()

        def statvfs(path: str) -> os.statvfs_result:
            if path == "/slow":
                go.wait(30)
            return os.statvfs("/")

        def ask(paths: list[str], known: dict[str, Space]) -> None:
            original(paths, known)
            if "/slow" in paths:
                answered.set()

        original = self.usage._ask
        self.patch(self.usage, "_ask", ask)
        self.patch(usage_module, "os", type("os", (), {"statvfs": staticmethod(statvfs)}))
        self.addCleanup(go.set)
        self.assertEqual(set(await self.usage.measure(["/slow"])), set())
        self.assertEqual(set(await self.usage.measure(["/quick", "/slow"])), {"/quick"})
        go.set()
        await Threads(reactor).run(answered.wait, 30)
        self.assertIn("/slow", self.usage._known)


def test_percentages() -> None:
    assert Space(0, 0).use_percent == 0.0
    assert Space(1, 2).use_percent == 33.3
    assert Space(5, 0).use_percent == 100.0
