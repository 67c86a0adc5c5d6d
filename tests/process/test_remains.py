"""What runs for a server ends when that is killed, and nothing else does."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.process import remains as remains_module
from appliance.process.pipes import pipe_from_child
from appliance.process.remains import Remains
from appliance.process.spawn import spawn
from tests.support import remains_server
from tests.support.processes import alive, eventually, number_in, wait_for

ROOT = Path(__file__).resolve().parents[2]
reactor: Any = global_reactor


def server_killed_at(folder: Path, moment: str, *scripts: str) -> None:
    """Run a real server until it kills itself; then wait until nobody waits for its end any more."""
    command = [sys.executable, remains_server.__file__, str(folder), moment, *scripts]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    waiting = number_in(folder / "waiting")
    wait_for(lambda: not alive(waiting), "the end of who ends what is left")


def test_a_program_that_runs_is_asked_to_end(tmp_path: Path) -> None:
    quiet = "exec 2> /dev/null"  # a shell that tells of the end of a child ends itself, for nobody reads that
    script = f"{quiet}; trap 'echo > asked; exit' TERM; echo $$ > pid; echo > ready-0; while :; do sleep 0.02; done"
    server_killed_at(tmp_path, "running", script)
    assert (tmp_path / "asked").exists()
    assert not alive(number_in(tmp_path / "pid"))


def test_a_group_that_does_not_listen_is_killed_and_what_has_left_it_lives_on(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > pid; echo > ready-0; wait"
    wait = 'while [ "$(ps -o sid= -p $!)" -ne $! ]; do :; done'
    father = f"setsid sleep 1000 & echo $! > gone; {wait}; echo > ready-1; wait"
    stopped = "echo $$ > stopped; echo > ready-2; kill -STOP $$"
    server_killed_at(tmp_path, "running", stubborn, father, stopped)
    daemon = number_in(tmp_path / "gone")
    assert alive(daemon)
    os.kill(daemon, signal.SIGKILL)
    assert not any(alive(number_in(tmp_path / name)) for name in ("pid", "child", "stopped"))


def test_the_group_of_a_leader_that_listens_is_killed(tmp_path: Path) -> None:
    script = "(trap '' TERM; echo > ready-0; sleep 1000; :) & echo $! > child; wait"
    server_killed_at(tmp_path, "running", script)
    assert not alive(number_in(tmp_path / "child"))


@pytest.mark.parametrize("moment", ["expected", "spawned"])
def test_a_program_that_was_just_being_started(tmp_path: Path, moment: str) -> None:
    server_killed_at(tmp_path, moment, "echo $$ > pid; sleep 1000; :")
    pid = number_in(tmp_path / "pid")
    assert moment == "spawned" or not pid
    assert not pid or not alive(pid)


class RemainsTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await deferLater(reactor, 0)  # from now on the reactor hears of children's ends
        self.remains = Remains(reactor, 1)
        self.remains.start()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.remains.stop()
        await self.remains.stop()

    @property
    def waiting(self) -> int:
        return self.remains._child.pid if self.remains._child is not None else 0

    async def test_a_row_is_empty_again_when_its_process_has_ended(self) -> None:
        for _ in range(3):
            output = pipe_from_child()
            with self.remains.row() as row:
                row.expect(output.theirs)
                descriptors = dict.fromkeys(range(3), output.theirs)
                leader = spawn(reactor, ["/bin/sleep", "1000"], env={}, descriptors=descriptors)
                row.started(leader.pid)
                inode, pid, start = self.remains._cells
                self.assertEqual((inode, pid), (os.fstat(output.ours).st_ino, leader.pid))
                self.assertGreater(start, 0)
                leader.kill()
                await leader.ended.wait()
            self.assertEqual(list(self.remains._cells), [0, 0, 0])
            os.close(output.ours)
            os.close(output.theirs)

    async def test_one_that_has_been_reaped_already_needs_no_row(self) -> None:
        with self.remains.row() as row:
            row.expect(0)
            row.started(4_194_305)  # above pid_max's limit
            self.assertEqual(list(self.remains._cells), [0, 0, 0])

    async def test_who_waits_is_replaced(self) -> None:
        self.patch(remains_module, "_PAUSE", 0.01)
        first = self.waiting
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: self.waiting not in (0, first), "another one")

    async def test_nobody_can_be_started_at_first(self) -> None:
        self.patch(remains_module, "_PAUSE", 0.01)
        refused = Deferred[None]()

        def refuse(*args: Any, **options: Any) -> None:
            self.patch(remains_module, "spawn", spawn)
            refused.callback(None)
            raise OSError("no room")

        self.patch(remains_module, "spawn", refuse)
        os.kill(self.waiting, signal.SIGKILL)
        await refused
        await eventually(lambda: self.waiting, "another one")
