import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from appliance import files
from appliance.process import job as job_module
from appliance.process import jobs as jobs_module
from appliance.process import records
from appliance.process.errors import AlreadyRunning, JobError, JobsClosed, ProcessError
from appliance.process.job import Job, JobState
from appliance.process.jobs import Jobs
from appliance.process.records import JobResult
from tests.support.jobs import JobsTestCase
from tests.support.processes import alive, eventually, number_in

reactor: Any = global_reactor


class LifeTests(JobsTestCase):
    async def test_a_program_runs_and_its_code_is_told_once(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="someone")
        self.assertEqual((job.state, job.id, job.owner), (JobState.RUNNING, "work/00000001", "someone"))
        self.assertIs(jobs.running("work"), job)
        self.assertIsNone(jobs.running("other"))
        await self.program_pid()
        self.let_go(7)
        results = await gatherResults([job.wait(), job.wait()])
        self.assertEqual(results, [JobResult(code=7)] * 2)
        self.assertEqual(await job.wait(), JobResult(code=7))
        self.assertEqual(self.ends, ["work/00000001 7 None False False"])
        self.assertIsNone(jobs.running("work"))
        self.assertEqual(job.state, JobState.ENDED)

    async def test_one_at_a_time_of_each_kind(self) -> None:
        jobs = await self.adopted()
        tries = [Deferred.fromCoroutine(jobs.reserve("work", owner="")) for _ in range(3)]
        first = await tries[0]
        for refused in tries[1:]:
            error = await self.assertFailure(refused, AlreadyRunning)
            self.assertEqual(error.kind, "work")
        other = await jobs.reserve("other", owner="")
        await first.finish(0)
        await (await jobs.reserve("work", owner="")).finish(1)
        await other.finish(0)
        self.assertEqual(len(self.ends), 3)

    async def test_the_environment_the_directory_and_the_log(self) -> None:
        jobs = await self.adopted()
        log = self.folder / "the.log"
        log.write_text("before\n")
        job = await jobs.start(
            "work",
            ["sh", "-c", "env; pwd; cat; echo err >&2; ls /proc/self/fd; ps -o sid= -p $$; echo $$"],
            owner="",
            env={"PATH": "/usr/bin:/bin", "A": "b"},
            cwd=str(self.folder),
            log=log,
        )
        self.assertEqual((await job.wait()).code, 0)
        lines = log.read_text().splitlines()
        self.assertEqual(lines[0], "before")
        self.assertEqual({line for line in lines if "=" in line}, {"PATH=/usr/bin:/bin", "A=b", f"PWD={self.folder}"})
        self.assertIn(str(self.folder), lines)
        self.assertIn("err", lines)
        self.assertEqual(lines[-6:-2], ["0", "1", "2", "3"])  # 3 is the folder that ls reads
        self.assertEqual(lines[-2].strip(), lines[-1])  # a session of its own

    async def test_the_log_has_a_limit_and_the_program_does_not_notice(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", ["sh", "-c", "head -c 3000000 /dev/zero; echo end"], owner="", log_limit=1000)
        self.assertEqual((await job.wait()).code, 0)
        assert job.log is not None
        content = job.log.read_bytes()
        self.assertEqual(content[:1000], bytes(1000))
        self.assertIn(b"dropped", content[1000:])
        self.assertLess(len(content), 1100)

    async def test_a_full_disk_under_the_log_does_not_stop_the_program(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", ["sh", "-c", "seq 100000"], owner="", log=Path("/dev/full"))
        self.assertEqual((await job.wait()).code, 0)

    async def test_killed_program_takes_its_group_along(self) -> None:
        jobs = await self.adopted()
        helper = self.folder / "helper"
        job = await jobs.start("work", ["sh", "-c", f"sleep 60 & echo $! > {helper}; kill -9 $$"], owner="")
        self.assertEqual(await job.wait(), JobResult(signal=9))
        await eventually(lambda: not alive(number_in(helper)), "the end of the helper")

    async def test_daemon_of_a_program_that_exits_lives_on_and_can_write(self) -> None:
        jobs = await self.adopted()
        script = f"(sleep 1.5; echo late; sleep 60) & echo $! > {self.folder / 'daemon'}"
        job = await jobs.start("work", ["sh", "-c", script], owner="")
        self.assertEqual(await job.wait(), JobResult(code=0))
        daemon = number_in(self.folder / "daemon")
        self.addCleanup(os.killpg, int(Path(f"/proc/{daemon}/stat").read_text().split()[4]), signal.SIGKILL)
        assert job.log is not None
        log = job.log
        await eventually(lambda: "late" in log.read_text(), "a line of the daemon")
        self.assertTrue(alive(daemon))

    async def test_program_that_is_missing(self) -> None:
        jobs = await self.adopted()
        with self.assertRaises(ProcessError) as caught:
            await jobs.start("work", ["/no/such/program"], owner="")
        self.assertIn("no such program", str(caught.exception))
        self.assertEqual(self.ends, ["work/00000001 None None False True"])
        self.assertIsNone(jobs.running("work"))

    async def test_program_that_cannot_be_executed(self) -> None:
        broken = self.folder / "broken"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        job = await (await self.adopted()).start("work", [str(broken)], owner="")
        self.assertEqual((await job.wait()).code, 127)
        assert job.log is not None
        self.assertIn("cannot start", job.log.read_text())

    async def test_log_that_cannot_be_opened(self) -> None:
        jobs = await self.adopted()
        with self.assertRaises(ProcessError) as caught:
            await jobs.start("work", [str(self.program)], owner="", log=Path("/no/such/log"))
        self.assertIn("/no/such/log", str(caught.exception))
        self.assertFalse((self.folder / "pid").exists())
        self.assertEqual(len(self.ends), 1)

    async def test_work_of_the_server_itself(self) -> None:
        jobs = await self.adopted()
        job = await jobs.reserve("work", owner="")
        for percentage in (10, 400, -1):
            job.report(percentage)
        self.assertEqual(job.percentage, 0)
        await job.finish(5)
        self.assertEqual(await job.wait(), JobResult(code=5))
        for again in (job.finish(0), job.abandon("late"), job.launch(["/bin/true"])):
            with self.assertRaises(JobError):
                await again
        self.assertEqual(self.ends, ["work/00000001 5 None False False"])

    async def test_abandoned_by_the_end_of_its_block(self) -> None:
        jobs = await self.adopted()

        async def bad_upload() -> None:
            async with await jobs.reserve("work", owner=""):
                raise ValueError("bad upload")

        with self.assertRaises(ValueError):
            await bad_upload()
        async with await jobs.reserve("work", owner="") as job:
            await job.finish(0)
        self.assertEqual(self.ends, ["work/00000001 None None False True", "work/00000002 0 None False False"])

    async def test_records_are_private(self) -> None:
        jobs = await self.adopted()
        await (await jobs.start("work", ["/bin/true"], owner="")).wait()
        for path in [self.folder / "jobs", *(self.folder / "jobs" / "work").rglob("*")]:
            if path.name != "output.log":
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    async def test_old_folders_go(self) -> None:
        jobs = await self.adopted()
        for _ in range(records.KEPT + 3):
            await (await jobs.reserve("work", owner="")).finish(0)
        names = sorted(path.name for path in (self.folder / "jobs" / "work").iterdir())
        self.assertEqual(names, [f"{n:08d}" for n in range(4, 9)])

    async def test_kinds(self) -> None:
        jobs = await self.adopted()
        with self.assertRaises(JobError):
            await jobs.reserve("unknown", owner="")
        for bad in ("", "../x", "A", ".lock", "a b", "a" * 65):
            with self.assertRaises(ValueError):
                jobs.register(bad, self.fail)


class StopTests(JobsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(jobs_module, "TERMINATE_GRACE", 0.3)
        self.patch(jobs_module, "_STOP_MARGIN", 3.0)

    async def test_stop(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="")
        await self.program_pid()
        await job.stop()
        self.assertEqual(job.result, JobResult(signal=15))
        self.assertEqual(self.ends, ["work/00000001 None 15 False False"])
        await job.stop()  # of an ended one: nothing
        self.assertEqual(len(self.ends), 1)

    async def test_stop_of_one_that_ignores_term_with_its_helpers(self) -> None:
        jobs = await self.adopted()
        helper = self.folder / "helper"
        script = f"trap '' TERM; sleep 60 & echo $! > {helper}; while :; do sleep 0.1; done"
        job = await jobs.start("work", ["sh", "-c", script], owner="")
        pid = await eventually(lambda: number_in(helper), "the helper")
        await job.stop()
        self.assertEqual(job.result, JobResult(signal=9))
        await eventually(lambda: not alive(pid), "the end of the helper")

    async def test_stop_lets_a_trap_decide_the_code_and_ends_the_helpers(self) -> None:
        jobs = await self.adopted()
        helper = self.folder / "helper"
        stubborn = "(trap '' TERM; sleep 60; :)"
        script = f"trap 'exit 4' TERM; {stubborn} & echo $! > {helper}; while :; do sleep 0.1; done"
        job = await jobs.start("work", ["sh", "-c", script], owner="")
        pid = await eventually(lambda: number_in(helper), "the helper")
        await job.stop()
        self.assertEqual(job.result, JobResult(code=4))
        await eventually(lambda: not alive(pid), "the end of the helper")

    async def test_stop_of_a_reserved_one(self) -> None:
        jobs = await self.adopted()
        job = await jobs.reserve("work", owner="")
        await job.stop()
        self.assertEqual(job.result, JobResult(abandoned=True, reason="stopped"))

    async def test_stop_while_it_is_launched(self) -> None:
        jobs = await self.adopted()
        job = await jobs.reserve("work", owner="")
        launching = Deferred.fromCoroutine(job.launch([str(self.program)]))
        await job.stop()
        await launching
        self.assertEqual(job.result, JobResult(signal=15))

    async def test_stop_without_supervisor(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="")
        program = await self.program_pid()
        os.kill(self.record()["pid"], signal.SIGKILL)
        await eventually(lambda: job.state is JobState.ORPHANED, "the discovery")
        self.assertTrue(alive(program))
        await job.stop()
        self.assertFalse(alive(program))
        assert job.result is not None
        self.assertTrue(job.result.interrupted)

    async def test_stop_with_a_supervisor_that_hangs(self) -> None:
        self.patch(jobs_module, "_STOP_MARGIN", 0.2)
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="")
        program = await self.program_pid()
        supervisor = self.record()["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        stopping = Deferred.fromCoroutine(job.stop())
        await eventually(lambda: not alive(program), "the end of the program")
        os.kill(supervisor, signal.SIGCONT)
        await stopping
        self.assertEqual(job.result, JobResult(signal=9))


class WaitingTests(JobsTestCase):
    async def test_a_cancelled_waiter_touches_nobody(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="")
        leaver, stayer = job.wait(), job.wait()
        leaver.cancel()
        await self.assertFailure(leaver, CancelledError)
        await self.program_pid()
        self.let_go()
        self.assertEqual(await stayer, JobResult(code=0))

    async def test_cancelled_reservation_frees_the_kind(self) -> None:
        jobs = await self.adopted()
        task = Deferred.fromCoroutine(jobs.reserve("work", owner=""))
        task.cancel()
        await self.assertFailure(task, CancelledError)
        await eventually(lambda: jobs.running("work") is None, "the end of the reservation")
        self.assertEqual(self.ends, ["work/00000001 None None False True"])

    async def test_cancelled_launch_goes_on(self) -> None:
        jobs = await self.adopted()
        job = await jobs.reserve("work", owner="")
        task = Deferred.fromCoroutine(job.launch([str(self.program)]))
        task.cancel()
        await self.assertFailure(task, CancelledError)
        await self.program_pid()
        self.let_go(3)
        self.assertEqual(await job.wait(), JobResult(code=3))

    async def test_closing_leaves_the_program_alone(self) -> None:
        jobs = await self.adopted()
        job = await jobs.start("work", [str(self.program)], owner="")
        waiter = job.wait()
        program = await self.program_pid()
        await jobs.close()
        await self.assertFailure(waiter, JobsClosed)
        await self.runner.stop()
        self.assertTrue(alive(program))
        with self.assertRaises(JobsClosed):
            await jobs.reserve("other", owner="")
        self.assertEqual(self.ends, [])
        again = await self.adopted()
        adopted = again.running("work")
        assert adopted is not None
        self.assertEqual((adopted.id, adopted.owner, adopted.launched, adopted.log), (job.id, "", True, job.log))
        self.assertEqual(adopted.created, job.created)
        self.let_go()
        self.assertEqual(await adopted.wait(), JobResult(code=0))
        self.assertEqual(len(self.ends), 1)

    async def test_closing_waits_for_ends_that_are_being_dealt_with(self) -> None:
        jobs = await self.adopted()
        dealing: Deferred[None] = Deferred()

        async def on_end(job: Job) -> None:
            await dealing

        jobs.register("work", on_end)
        finishing = Deferred.fromCoroutine((await jobs.reserve("work", owner="")).finish(0))
        await deferLater(reactor, 0.1)
        closing = Deferred.fromCoroutine(jobs.close())
        self.assertFalse(closing.called)
        dealing.callback(None)
        await closing
        await finishing
        self.assertTrue((self.folder / "jobs/work/00000001/ended.json").exists())

    async def test_one_server_at_a_time(self) -> None:
        self.patch(jobs_module, "_IN_USE_ATTEMPTS", 2)
        first = await self.adopted()
        second = self.jobs()
        with self.assertRaises(JobError) as caught:
            await second.adopt()
        self.assertIn(f"pid {os.getpid()}", str(caught.exception))
        with self.assertRaises(JobError):
            await first.adopt()
        with self.assertRaises(JobsClosed):
            await second.reserve("work", owner="")
        await first.close()
        await second.adopt()
        await (await second.reserve("work", owner="")).finish(0)

    async def test_directory_that_cannot_be_used(self) -> None:
        (self.folder / "jobs").write_text("a file")
        with self.assertRaises(JobError) as caught:
            await self.adopted()
        self.assertIn(str(self.folder), str(caught.exception))


class OnEndTests(JobsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(jobs_module, "_TELL_AGAIN", (0.01, 0.01))
        self.failures = 0
        self.told: list[str] = []

    async def failing(self, job: Job) -> None:
        self.told.append(job.id)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("disk full")

    async def with_failures(self, failures: int) -> Jobs:
        self.failures = failures
        jobs = self.jobs()
        jobs.register("work", self.failing)
        await jobs.adopt()
        return jobs

    async def test_failing_once(self) -> None:
        jobs = await self.with_failures(1)
        await (await jobs.reserve("work", owner="")).finish(0)
        self.assertEqual(self.told, ["work/00000001"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        await jobs.close()
        await self.with_failures(0)
        self.assertEqual(len(self.told), 2)

    async def test_failing_always_frees_the_kind_and_is_told_at_the_next_start(self) -> None:
        jobs = await self.with_failures(3)
        await (await jobs.reserve("work", owner="")).finish(0)
        self.assertIsNone(jobs.running("work"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)
        await jobs.close()
        await self.with_failures(0)
        self.assertEqual(self.told, ["work/00000001"] * 4)

    async def test_an_old_end_never_comes_after_a_new_one(self) -> None:
        jobs = await self.with_failures(3)
        await (await jobs.reserve("work", owner="")).finish(0)
        self.flushLoggedErrors(RuntimeError)
        await (await jobs.reserve("work", owner="")).finish(0)
        await jobs.close()
        told = len(self.told)
        await self.with_failures(0)
        self.assertEqual(len(self.told), told)

    async def test_disk_full_at_each_record(self) -> None:
        jobs = await self.adopted()
        for name, outcome in (("job.json", JobError), ("command.json", ProcessError), ("ended.json", None)):
            real = files.write_atomic

            def refuse(path: Path, data: bytes, name: str = name, real: Any = real, **options: Any) -> None:
                if path.name == name:
                    raise OSError(28, "No space left on device")
                real(path, data, **options)

            patch = self.patch(records, "write_atomic", refuse)
            if outcome is None:
                await (await jobs.start("work", ["/bin/true"], owner="")).wait()
            else:
                with self.assertRaises(outcome) as caught:
                    await jobs.start("work", ["/bin/true"], owner="")
                self.assertIn("No space left", str(caught.exception))
            patch.restore()
            self.assertIsNone(jobs.running("work"))
            job = await jobs.start("work", ["/bin/true"], owner="")
            self.assertEqual((await job.wait()).code, 0)


class ScopeTests(JobsTestCase):
    def scope(self, script: str) -> tuple[str, ...]:
        fake = self.folder / "systemd-run"
        fake.write_text(f"#!/bin/sh\necho called >> {self.folder}/scope\n{script}\n")
        fake.chmod(0o755)
        return (str(fake), "--scope", "--")

    async def test_through_a_scope(self) -> None:
        scope = self.scope('shift 2; exec "$@"')
        jobs = await self.adopted(launcher=self.launcher(scope=scope))
        job = await jobs.start("work", [str(self.program)], owner="")
        await self.program_pid()
        self.assertTrue((self.folder / "scope").exists())
        self.let_go(2)
        self.assertEqual(await job.wait(), JobResult(code=2))

    async def test_without_one_where_it_fails(self) -> None:
        scope = self.scope("echo 'Failed to connect to bus' >&2; exit 1")
        jobs = await self.adopted(launcher=self.launcher(scope=scope))
        job = await jobs.start("work", ["/bin/true"], owner="")
        self.assertEqual(await job.wait(), JobResult(code=0))
        self.assertTrue((self.folder / "scope").exists())

    async def test_supervisor_that_fails_shows_its_words(self) -> None:
        broken = self.folder / "broken.py"
        broken.write_text("import sys; sys.exit('out of luck')")
        jobs = await self.adopted(launcher=self.launcher(supervisor=broken))
        with self.assertRaises(ProcessError) as caught:
            await jobs.start("work", ["/bin/true"], owner="")
        self.assertIn("out of luck", str(caught.exception))
        self.assertEqual(len(self.ends), 1)


class StateTests(JobsTestCase):
    async def test_every_state_is_reachable_and_the_last_has_no_way_out(self) -> None:
        reachable = {JobState.RESERVED}
        for _ in JobState:
            reachable |= {after for state in reachable for after in job_module._NEXT[state]}
        self.assertEqual(reachable, set(JobState))
        self.assertEqual(job_module._NEXT[JobState.ENDED], frozenset())

    async def test_created_is_now(self) -> None:
        jobs = await self.adopted()
        job = await jobs.reserve("work", owner="")
        self.assertLess(abs(job.created - time.time()), 60)
        await job.finish(0)
