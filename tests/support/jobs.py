"""Jobs in a folder of the test, whose program waits for a word from the test."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.process.jobs import Jobs
from appliance.process.launch import Launcher
from appliance.process.run import ProcessRunner
from tests.support.job_server import note_end
from tests.support.processes import alive, children, eventually, number_in

reactor: Any = global_reactor

PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
echo $$ > pid.new; mv pid.new pid
echo "pid $$"
n=0
while [ ! -e go ] && [ $n -lt 3000 ]; do sleep 0.02; n=$((n + 1)); done
exit $(cat go)
"""


class JobsTestCase(TestCase):
    """`self.folder` holds `jobs/`, the `program`, its `pid`, the file `go` it waits for, and the `ends`
    told of."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.program = self.folder / "program"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.runner = ProcessRunner(reactor)
        self.open: list[Jobs] = []
        self.before = set(children())

    async def tearDown(self) -> None:  # type: ignore[override]
        for jobs in self.open:
            await jobs.close()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")

    def jobs(self, **options: Any) -> Jobs:
        """New jobs over the same folder, of the kinds `work` and `other`, closed by the end of the test."""
        jobs = Jobs(reactor, self.folder / "jobs", self.runner, **options)
        jobs.register("work", note_end(self.folder))
        jobs.register("other", note_end(self.folder))
        self.open.append(jobs)
        return jobs

    async def adopted(self, **options: Any) -> Jobs:
        jobs = self.jobs(**options)
        await jobs.adopt()
        return jobs

    def launcher(self, **options: Any) -> Launcher:
        return Launcher(reactor, self.runner, **options)

    @property
    def ends(self) -> list[str]:
        """What `on_end` was told: `ID CODE SIGNAL INTERRUPTED ABANDONED`."""
        try:
            return (self.folder / "ends").read_text().splitlines()
        except FileNotFoundError:
            return []

    def let_go(self, code: int = 0) -> None:
        """Let the program exit."""
        (self.folder / "go.new").write_text(str(code))
        (self.folder / "go.new").rename(self.folder / "go")

    async def program_pid(self) -> int:
        pid: int = await eventually(lambda: number_in(self.folder / "pid"), "the program")
        return pid

    def record(self, number: int = 1, name: str = "process.json", kind: str = "work") -> Any:
        """What a file in a job's folder says."""
        return json.loads((self.folder / "jobs" / kind / f"{number:08d}" / name).read_text())

    def processes(self) -> list[int]:
        """The supervisors and programs of this test that live."""
        found = []
        for file in self.folder.glob("jobs/*/*/process.json"):
            marks = json.loads(file.read_text())
            found += [pid for pid in (marks["pid"], marks["child_pid"]) if alive(pid)]
        return found
