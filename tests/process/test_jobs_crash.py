"""kill -9 of server, supervisor and program at every step; then a new server must find the truth."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from appliance.process.errors import AlreadyRunning, ProcessError
from appliance.process.job import Job, JobState
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from tests.support import job_server
from tests.support.jobs import JobsTestCase
from tests.support.processes import alive, eventually

ROOT = Path(__file__).resolve().parents[2]
DYING_SUPERVISOR = ROOT / "tests" / "support" / "dying_supervisor.py"

INTERRUPTED = "None None True False"


class CrashTestCase(JobsTestCase):
    async def server_killed_at(self, moment: str) -> None:
        """Run a real server until it kills itself at `moment`."""
        command = [sys.executable, job_server.__file__, str(self.folder), moment]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = await deferToThread(
            subprocess.run, command, env=environment, capture_output=True, timeout=60, check=False
        )
        self.assertEqual(ended.returncode, -signal.SIGKILL, ended.stderr.decode())

    async def assert_next_one_works(self, jobs: Jobs) -> None:
        self.let_go(0)
        job = await jobs.start("work", [str(self.program)], owner="next")
        self.assertEqual(await job.wait(), JobResult(code=0))
        self.assertEqual(self.ends[-1], f"{job.id} 0 None False False")

    async def assert_live(self, jobs: Jobs) -> Job:
        """The job is adopted, holds its kind, and nobody was told of an end."""
        job = jobs.running("work")
        assert job is not None
        self.assertEqual(self.ends, [])
        with self.assertRaises(AlreadyRunning):
            await jobs.reserve("work", owner="")
        await self.program_pid()
        return job


class ServerTests(CrashTestCase):
    async def test_before_anything_was_promised(self) -> None:
        await self.server_killed_at("before job.json")
        jobs = await self.adopted()
        self.assertEqual(self.ends, [])
        self.assertEqual(list((self.folder / "jobs" / "work").iterdir()), [])
        await self.assert_next_one_works(jobs)

    async def assert_interrupted_after(self, moment: str, *, launched: bool) -> None:
        await self.server_killed_at(moment)
        jobs = await self.adopted()
        self.assertIsNone(jobs.running("work"))
        self.assertEqual(self.ends, [f"work/00000001 {INTERRUPTED}"])
        self.assertFalse((self.folder / "pid").exists())
        self.assertEqual((self.folder / "jobs/work/00000001/command.json").exists(), launched)
        await self.assert_next_one_works(jobs)
        await jobs.close()
        ends = self.ends
        await self.adopted()
        self.assertEqual(self.ends, ends)

    async def test_recorded(self) -> None:
        await self.assert_interrupted_after("after job.json", launched=False)

    async def test_reserved(self) -> None:
        await self.assert_interrupted_after("reserved", launched=False)

    async def test_before_the_command(self) -> None:
        await self.assert_interrupted_after("before command.json", launched=False)

    async def test_after_the_command(self) -> None:
        await self.assert_interrupted_after("after command.json", launched=True)

    async def test_with_the_lock(self) -> None:
        await self.assert_interrupted_after("prepared", launched=True)

    async def assert_adopted_after(self, moment: str) -> None:
        await self.server_killed_at(moment)
        jobs = await self.adopted()
        job = await self.assert_live(jobs)
        self.let_go(7)
        self.assertEqual(await job.wait(), JobResult(code=7))
        self.assertEqual(self.ends, ["work/00000001 7 None False False"])
        await self.assert_next_one_works(jobs)

    async def test_between_spawn_and_process_record(self) -> None:
        await self.assert_adopted_after("spawned")

    async def test_running(self) -> None:
        await self.assert_adopted_after("launched")

    async def test_killed_twice_while_it_runs(self) -> None:
        await self.server_killed_at("launched")
        for _ in range(2):
            jobs = await self.adopted()
            await self.assert_live(jobs)
            await jobs.close()
        await self.assert_adopted_by_a_third()

    async def assert_adopted_by_a_third(self) -> None:
        job = await self.assert_live(await self.adopted())
        self.let_go(1)
        self.assertEqual(await job.wait(), JobResult(code=1))

    async def test_ended_while_no_server_ran(self) -> None:
        await self.server_killed_at("launched")
        await self.program_pid()
        self.let_go(7)
        await eventually(lambda: not self.processes(), "the end of the job")
        jobs = await self.adopted()
        self.assertIsNone(jobs.running("work"))
        self.assertEqual(self.ends, ["work/00000001 7 None False False"])
        await self.assert_next_one_works(jobs)

    async def assert_told_again_after(self, moment: str, times: int) -> None:
        self.let_go(7)
        await self.server_killed_at(moment)
        jobs = await self.adopted()
        self.assertEqual(self.ends, ["work/00000001 7 None False False"] * times)
        await self.assert_next_one_works(jobs)
        await jobs.close()
        ends = self.ends
        await self.adopted()
        self.assertEqual(self.ends, ends)

    async def test_before_the_end_was_told(self) -> None:
        await self.assert_told_again_after("telling", 1)

    async def test_after_the_end_was_told(self) -> None:
        await self.assert_told_again_after("told", 2)

    async def test_after_the_end_was_acknowledged(self) -> None:
        await self.assert_told_again_after("acknowledged", 1)


class LaterKillTests(CrashTestCase):
    """The server is dead, or watches, when the others are killed."""

    async def test_program_killed_without_server(self) -> None:
        await self.server_killed_at("launched")
        os.kill(await self.program_pid(), signal.SIGKILL)
        await eventually(lambda: not self.processes(), "the end of the job")
        jobs = await self.adopted()
        self.assertEqual(self.ends, ["work/00000001 None 9 False False"])
        await self.assert_next_one_works(jobs)

    async def test_supervisor_killed_without_server(self) -> None:
        await self.server_killed_at("launched")
        program = await self.program_pid()
        os.kill(self.record()["pid"], signal.SIGKILL)
        await eventually(lambda: not alive(self.record()["pid"]), "the end of the supervisor")
        self.assertTrue(alive(program))
        jobs = await self.adopted()
        job = await self.assert_live(jobs)
        await eventually(lambda: job.state is JobState.ORPHANED, "the discovery")
        self.let_go(0)
        result = await job.wait()
        self.assertTrue(result.interrupted)
        self.assertIn("unknown", result.reason)
        self.assertEqual(self.ends, [f"work/00000001 {INTERRUPTED}"])
        await self.assert_next_one_works(jobs)

    async def test_both_killed_without_server(self) -> None:
        await self.server_killed_at("launched")
        await self.program_pid()
        for pid in (self.record()["pid"], self.record()["child_pid"]):
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not self.processes(), "the end of both")
        jobs = await self.adopted()
        self.assertEqual(self.ends, [f"work/00000001 {INTERRUPTED}"])
        await self.assert_next_one_works(jobs)

    async def test_program_killed_under_an_adopting_server(self) -> None:
        await self.server_killed_at("launched")
        jobs = await self.adopted()
        job = await self.assert_live(jobs)
        os.kill(await self.program_pid(), signal.SIGKILL)
        self.assertEqual(await job.wait(), JobResult(signal=9))

    async def test_adopted_job_can_be_stopped(self) -> None:
        await self.server_killed_at("launched")
        job = await self.assert_live(await self.adopted())
        await job.stop()
        self.assertEqual(job.result, JobResult(signal=15))

    async def test_program_lives_on_when_its_supervisor_is_killed_and_can_still_write(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start(
            "work",
            [
                "sh",
                "-c",
                f"echo $$ > {self.folder}/pid; while [ ! -e {self.folder}/go ]; do sleep 0.02; done;"
                f"seq 50000; echo written > {self.folder}/written",
            ],
            owner="",
        )
        await self.program_pid()
        os.kill(self.record()["pid"], signal.SIGKILL)
        await eventually(lambda: job.state is JobState.ORPHANED, "the discovery")
        self.let_go()
        self.assertTrue((await job.wait()).interrupted)
        self.assertEqual((self.folder / "written").read_text(), "written\n")
        assert job.log is not None
        log = job.log
        await eventually(lambda: log.read_text().endswith("50000\n"), "the last line of the log")

    async def test_marks_of_another_boot_mean_nothing(self) -> None:
        await self.assert_marks_mean_nothing("boot_id", "another")

    async def test_a_number_given_to_another_process_means_nothing(self) -> None:
        await self.assert_marks_mean_nothing("child_start_time", 1)

    async def assert_marks_mean_nothing(self, field: str, value: Any) -> None:
        await self.server_killed_at("launched")
        program = await self.program_pid()
        marks = self.record()
        os.kill(marks["pid"], signal.SIGKILL)
        await eventually(lambda: not alive(marks["pid"]), "the end of the supervisor")
        file = self.folder / "jobs/work/00000001/process.json"
        file.write_text(json.dumps({**marks, field: value}))
        await self.adopted()
        self.assertEqual(self.ends, [f"work/00000001 {INTERRUPTED}"])
        os.kill(program, signal.SIGKILL)

    async def test_half_a_record_is_no_result(self) -> None:
        await self.server_killed_at("launched")
        await self.program_pid()
        for pid in (self.record()["pid"], self.record()["child_pid"]):
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not self.processes(), "the end of both")
        for garbage in ("", '{"code":', "[]", '{"code": "0", "signal": null}'):
            (self.folder / "jobs/work/00000001/exit.json").write_text(garbage)
            jobs = await self.adopted()
            self.assertEqual(self.ends[-1], f"work/00000001 {INTERRUPTED}")
            await jobs.close()
            (self.folder / "jobs/work/00000001/ended.json").unlink()


class SupervisorTests(CrashTestCase):
    """The supervisor is killed at each of its own steps, with a server that watches."""

    async def jobs_with(self, moment: str) -> Jobs:
        (self.folder / "die-at").write_text(moment)
        return await self.adopted(launcher=self.launcher(supervisor=DYING_SUPERVISOR))

    async def assert_not_launched(self, moment: str) -> None:
        jobs = await self.jobs_with(moment)
        with self.assertRaises(ProcessError):
            await jobs.start("work", [str(self.program)], owner="")
        self.assertEqual(self.ends, ["work/00000001 None None False True"])
        await self.assert_program_never_ran()
        await jobs.close()
        await self.assert_next_one_works(await self.adopted())

    async def assert_program_never_ran(self) -> None:
        if (self.folder / "jobs/work/00000001/process.json").exists():
            await eventually(lambda: not self.processes(), "the end of the program at its gate")
        self.assertFalse((self.folder / "pid").exists())

    async def test_before_it_did_anything(self) -> None:
        await self.assert_not_launched("before check_lock")

    async def test_before_the_program_is_forked(self) -> None:
        await self.assert_not_launched("before start_program")

    async def test_before_the_program_is_recorded(self) -> None:
        await self.assert_not_launched("before record")

    async def test_after_the_program_is_recorded(self) -> None:
        await self.assert_not_launched("after record")

    async def test_after_ready_before_the_gate_is_opened(self) -> None:
        jobs = await self.jobs_with("after announce")
        job = await jobs.start("work", [str(self.program)], owner="")
        result = await job.wait()
        self.assertTrue(result.interrupted)
        await self.assert_program_never_ran()
        self.assertEqual(self.ends, [f"work/00000001 {INTERRUPTED}"])

    async def assert_end_lost(self, moment: str) -> None:
        self.let_go(0)
        jobs = await self.jobs_with(moment)
        job = await jobs.start("work", [str(self.program)], owner="")
        self.assertEqual(await job.wait(), JobResult(interrupted=True, reason="interrupted"))
        self.assertTrue((self.folder / "pid").exists())
        await jobs.close()
        await self.assert_next_one_works(await self.adopted())

    async def test_before_the_log_is_complete(self) -> None:
        await self.assert_end_lost("after wait_for_program")

    async def test_before_the_end_is_written(self) -> None:
        await self.assert_end_lost("before write_exit")

    async def test_after_the_end_is_written(self) -> None:
        self.let_go(6)
        jobs = await self.jobs_with("after write_exit")
        job = await jobs.start("work", [str(self.program)], owner="")
        self.assertEqual(await job.wait(), JobResult(code=6))


class AnyMomentTests(CrashTestCase):
    """Not at named steps but a little later each time, from the first moment to well past the end."""

    async def test_kill_at_any_moment(self) -> None:
        self.let_go(0)
        started = time.monotonic()
        self.assertTrue(await self.server_ends_within(60))
        step = (time.monotonic() - started) / 30
        ended_before = 0
        after = 0.0
        while ended_before < 3:
            ended_before += await self.server_ends_within(after)
            after += step
            jobs = await self.adopted()
            job = jobs.running("work")
            if job is not None:
                self.assertEqual(await job.wait(), JobResult(code=0))
            await jobs.close()
            self.assert_ends_are_true()
        await self.assert_next_one_works(await self.adopted())

    async def server_ends_within(self, seconds: float) -> bool:
        """Run a server, kill it so long after it has begun with its work, and tell whether it had done it by then."""
        command = [sys.executable, job_server.__file__, str(self.folder), "never"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            self.assertEqual(await deferToThread(server.stdout.readline), b"begun\n")
            try:
                return await deferToThread(server.wait, seconds) == 0
            except subprocess.TimeoutExpired:
                server.kill()
                return False

    def assert_ends_are_true(self) -> None:
        for line in self.ends:
            number = line.split()[0]
            ran = (self.folder / "jobs" / number / "exit.json").exists()
            if (self.folder / "jobs" / number).exists():
                self.assertEqual(line, f"{number} 0 None False False" if ran else f"{number} {INTERRUPTED}")
