import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import process
from twisted.internet import reactor as global_reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from appliance.process import leader as leader_module
from appliance.process.child import Ending
from appliance.process.errors import ProcessError
from appliance.process.leader import LeaderLost, SessionLeader
from appliance.process.spawn import OwnChild, spawn
from tests.support.processes import alive, children, eventually, number_in

reactor: Any = global_reactor


class SpawnTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.nowhere = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, self.nowhere)
        self.started: list[OwnChild] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for child in self.started:
            child.kill()
            await child.ended.wait()

    def spawn(self, *argv: str) -> OwnChild:
        self.assertGreater(self.nowhere, 2)
        child = spawn(reactor, argv, env={"PATH": "/usr/bin:/bin"}, descriptors=dict.fromkeys((0, 1, 2), self.nowhere))
        self.started.append(child)
        return child

    def sh(self, script: str) -> OwnChild:
        return self.spawn("/bin/sh", "-c", script, "sh", str(self.folder))

    async def test_endings(self) -> None:
        self.assertEqual(await self.spawn("/bin/true").ended.wait(), Ending(0, None))
        self.assertEqual(await self.sh("exit 7").ended.wait(), Ending(7, None))
        self.assertEqual(await self.sh("kill -USR1 $$").ended.wait(), Ending(None, signal.SIGUSR1))

    async def test_it_is_reaped_and_forgotten(self) -> None:
        child = self.spawn("/bin/true")
        await child.ended.wait()
        self.assertNotIn(child.pid, children())
        self.assertNotIn(child.pid, process.reapProcessHandlers)
        child.terminate()
        child.kill()

    async def test_one_that_somebody_else_reaps(self) -> None:
        child = self.sh("exec sleep 600")
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        other = self.spawn("/bin/true")
        self.assertEqual(await other.ended.wait(), Ending(0, None))  # which learns of its end by the same signal
        await self.assertFailure(child.ended.wait(), LeaderLost)
        self.started.remove(child)

    async def test_one_that_has_ended_before_it_is_known(self) -> None:
        pid = os.posix_spawn("/bin/sh", ("sh", "-c", "exit 5"), {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        child = OwnChild(reactor, pid)
        self.assertEqual(await child.ended.wait(), Ending(5, None))
        self.assertNotIn(pid, children())

    def test_what_cannot_be_started(self) -> None:
        plain = self.folder / "plain"
        plain.write_text("#!/bin/sh\n")
        for program, text in (
            ("/no/such/program", "No such file"),
            (str(plain), "Permission denied"),
            ("/bin/ls\0", "null byte"),
        ):
            with self.assertRaises(ProcessError) as caught:
                self.spawn(program, "hidden")
            self.assertIn(text, str(caught.exception))
            self.assertNotIn("hidden", str(caught.exception))

    def test_descriptors_that_would_be_overwritten(self) -> None:
        with self.assertRaises(ValueError):
            spawn(reactor, ["/bin/true"], env={}, descriptors={3: self.nowhere, self.nowhere + 1: self.nowhere})

    async def test_terminating_ends_the_group_and_nobody_else(self) -> None:
        other = self.sh("exec sleep 600")
        child = self.sh('sleep 600 & echo $! > "$1/child"; wait')
        await eventually(lambda: number_in(self.folder / "child"), "the start")
        child.terminate()
        child.terminate()
        self.assertEqual(await child.ended.wait(), Ending(None, signal.SIGTERM))
        await eventually(lambda: not alive(number_in(self.folder / "child")), "the end of the child")
        self.assertTrue(alive(other.pid))

    async def test_what_ignores_term_dies_with_its_leader(self) -> None:
        child = self.sh('(trap \'\' TERM; echo $$ > "$1/ready"; exec sleep 600) & echo $! > "$1/child"; wait')
        await eventually(lambda: number_in(self.folder / "ready") and number_in(self.folder / "child"), "the start")
        child.terminate()
        await child.ended.wait()
        await eventually(lambda: not alive(number_in(self.folder / "child")), "the end of the child")

    async def test_killed_after_a_grace(self) -> None:
        self.patch(leader_module, "TERMINATE_GRACE", 0.1)
        child = self.sh("trap '' TERM; echo 1 > \"$1/ready\"; while :; do sleep 1; done")
        await eventually(lambda: number_in(self.folder / "ready"), "the start")
        child.terminate()
        self.assertEqual(await child.ended.wait(), Ending(None, signal.SIGKILL))

    async def test_a_background_child_outlives_an_ordinary_end(self) -> None:
        child = self.sh('sleep 600 & echo $! > "$1/child"')
        await child.ended.wait()
        await deferLater(reactor, 0.02)
        self.assertTrue(alive(number_in(self.folder / "child")))
        os.kill(number_in(self.folder / "child"), signal.SIGKILL)


class Stuck(SessionLeader):
    """One that no signal ends."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, 1 << 30)  # type: ignore[arg-type]  # the clock is all it uses
        self.signals: list[int] = []
        self.found: Ending | None = None
        self.reaped = False

    def signal_group(self, number: signal.Signals) -> None:
        self.signals.append(number)

    def look(self) -> None:
        if self.found is not None:
            self.has_ended(self.found)

    def reap(self) -> None:
        self.reaped = True


class LadderTests(TestCase):
    def test_the_ladder(self) -> None:
        clock = Clock()
        leader = Stuck(clock)
        leader.terminate()
        self.assertEqual(leader.signals, [signal.SIGTERM, signal.SIGCONT])
        clock.advance(leader_module.TERMINATE_GRACE)
        self.assertEqual(leader.signals[2:], [signal.SIGKILL])
        waiting = leader.ended.wait()
        clock.advance(leader_module.KILL_GRACE)
        self.failureResultOf(waiting, LeaderLost)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_an_end_that_nobody_has_heard_of(self) -> None:
        # As in a reactor that was busy for longer than all of it takes.
        clock = Clock()
        leader = Stuck(clock)
        leader.kill()
        leader.found = Ending(None, signal.SIGKILL)
        clock.advance(leader_module.KILL_GRACE)
        self.assertEqual(self.successResultOf(leader.ended.wait()), leader.found)

    def test_an_end_in_between(self) -> None:
        clock = Clock()
        leader = Stuck(clock)
        leader.terminate()
        leader.has_ended(Ending(0, None))
        self.assertEqual(leader.signals, [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL])
        self.assertTrue(leader.reaped)
        self.assertEqual(self.successResultOf(leader.ended.wait()), Ending(0, None))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_an_end_by_itself(self) -> None:
        leader = Stuck(Clock())
        leader.has_ended(Ending(3, None))
        leader.terminate()
        leader.kill()
        self.assertEqual(leader.signals, [])

    def test_a_group_that_is_gone(self) -> None:
        leader = Stuck(Clock())
        SessionLeader.signal_group(leader, signal.SIGTERM)  # nobody has that number
