import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from appliance.process import child as child_module
from appliance.process.errors import ProcessError
from appliance.process.run import Finished, ProcessRunner
from tests.support.processes import alive, children, eventually, number_in, wait_for

reactor: Any = global_reactor


class RunnerTestCase(TestCase):
    def setUp(self) -> None:
        self.runner = ProcessRunner(reactor)
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.before = set(children())

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.runner.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")

    def begin(self, *argv: str, **options: Any) -> Deferred[Finished]:
        return Deferred.fromCoroutine(self.runner.run(argv, **options))

    def sh(self, script: str, **options: Any) -> Deferred[Finished]:
        return self.begin("/bin/sh", "-c", script, **options)


class EndingTests(RunnerTestCase):
    async def test_success(self) -> None:
        finished = await self.sh("echo out; echo err >&2")
        self.assertEqual((finished.stdout, finished.stderr), (b"out\n", b"err\n"))
        self.assertTrue(finished.succeeded)
        self.assertEqual((finished.exit_code, finished.signal, finished.truncated), (0, None, False))

    async def test_failure(self) -> None:
        finished = await self.sh("exit 3")
        self.assertFalse(finished.succeeded)
        self.assertEqual((finished.exit_code, finished.describe()), (3, "exit code 3"))

    async def test_signal(self) -> None:
        finished = await self.sh("kill -KILL $$")
        self.assertEqual((finished.exit_code, finished.signal), (None, 9))
        self.assertEqual(finished.describe(), "ended by SIGKILL")

    async def test_real_time_signal_has_no_name(self) -> None:
        finished = await self.sh("kill -40 $$")
        self.assertEqual(finished.describe(), "ended by signal 40")

    async def test_non_utf8_output(self) -> None:
        finished = await self.sh(r"printf '\377\376\000x'")
        self.assertEqual(finished.stdout, b"\xff\xfe\x00x")

    async def test_fifty_at_once(self) -> None:
        runs = [self.sh(f"sleep 0.05; echo {n}; exit {n}") for n in range(50)]
        for n, finished in enumerate(await gatherResults(runs)):
            self.assertEqual((finished.exit_code, finished.stdout), (n, f"{n}\n".encode()))


class StartingTests(RunnerTestCase):
    async def test_missing_program(self) -> None:
        plain = self.folder.absolute() / "plain"
        plain.write_text("no program")
        for argv, text in (
            (["no-such-program-at-all"], "there is no such program"),
            (["/no/such/program"], "there is no such program"),
            ([], "without a program"),
            ([""], "without a program"),
            ([str(plain)], "it is not executable"),
            (["/bin/sh", "a\0b"], "NUL"),
        ):
            with self.assertRaises(ProcessError) as caught:
                await self.runner.run(argv)
            self.assertIn(text, str(caught.exception))

    async def test_error_does_not_hold_arguments(self) -> None:
        with self.assertRaises(ProcessError) as caught:
            await self.runner.run(["/bin/echo", "hidden\0"])
        self.assertNotIn("hidden", str(caught.exception))

    async def test_too_many_arguments(self) -> None:
        with self.assertRaises(ProcessError) as caught:
            await self.runner.run(["/bin/true", "x" * (1 << 22)])
        self.assertIn("too long", str(caught.exception))

    async def test_missing_directory(self) -> None:
        with self.assertRaises(ProcessError) as caught:
            await self.runner.run(["/bin/true"], cwd="/no/such/place")
        self.assertIn("/no/such/place", str(caught.exception))

    async def test_program_is_found_in_the_path_of_the_child(self) -> None:
        tool = self.folder / "only-here"
        tool.write_text("#!/bin/sh\necho found\n")
        tool.chmod(0o755)
        with self.assertRaises(ProcessError):
            await self.runner.run(["only-here"])
        finished = await self.begin("only-here", env={"PATH": str(self.folder.absolute())})
        self.assertEqual(finished.stdout, b"found\n")

    async def test_directory_and_relative_program_with_odd_names(self) -> None:
        place = self.folder.absolute() / "-a=b c"
        place.mkdir()
        tool = place / "x=y"
        tool.write_text("#!/bin/sh\npwd\n")
        tool.chmod(0o755)
        finished = await self.begin("./x=y", cwd=str(place))
        self.assertEqual(finished.stdout, os.fsencode(f"{place}\n"))

    async def test_own_session_without_a_fork_in_between(self) -> None:
        script = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0), os.getppid())"
        finished = await self.begin(sys.executable, "-c", script, cwd="/")
        pid, session, group, parent = map(int, finished.stdout.split())
        self.assertEqual((session, group, parent), (pid, pid, os.getpid()))

    async def test_environment_is_only_what_is_given(self) -> None:
        os.environ["MUST_NOT_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "MUST_NOT_LEAK")
        dump = "import os; print(sorted(os.environ.items()))"
        given = await self.begin(sys.executable, "-c", dump, env={"A": "b", "LC_CTYPE": "C.UTF-8"})
        self.assertEqual(given.stdout, b"[('A', 'b'), ('LC_CTYPE', 'C.UTF-8')]\n")
        empty = await self.begin("/usr/bin/env", env={})
        self.assertEqual(empty.stdout, b"")
        default = await self.begin("/usr/bin/env")
        self.assertEqual({line.split(b"=")[0] for line in default.stdout.splitlines()}, {b"PATH", b"LANG"})

    async def test_no_descriptors_but_the_standard_ones(self) -> None:
        finished = await self.begin("/bin/ls", "/proc/self/fd")
        self.assertEqual(finished.stdout.split()[:3], [b"0", b"1", b"2"])
        self.assertEqual(len(finished.stdout.split()), 4)  # and the one ls reads the directory by

    async def test_broken_pipes_end_programs_as_usual(self) -> None:
        finished = await self.sh("yes | head -n 1")
        self.assertEqual((finished.stdout, finished.exit_code), (b"y\n", 0))


class InputTests(RunnerTestCase):
    async def test_ten_megabytes_to_a_slow_reader(self) -> None:
        data = os.urandom(1 << 20) * 10
        script = (
            "import sys, time, hashlib; h = hashlib.sha256(); time.sleep(0.3)\n"
            "while d := sys.stdin.buffer.read(100_000): h.update(d); time.sleep(0.001)\n"
            "print(h.hexdigest())"
        )
        finished = await self.begin(sys.executable, "-c", script, stdin=data)
        self.assertEqual(finished.stdout.decode().strip(), hashlib.sha256(data).hexdigest())

    async def test_child_closes_its_input_early(self) -> None:
        finished = await self.sh("head -c 3; exec 0<&-; sleep 0.1; echo done", stdin=b"abc" * 1_000_000)
        self.assertEqual((finished.stdout, finished.exit_code), (b"abcdone\n", 0))

    async def test_child_never_reads(self) -> None:
        finished = await self.begin("/bin/true", stdin=b"x" * 1_000_000)
        self.assertTrue(finished.succeeded)

    async def test_no_input_is_an_end_at_once(self) -> None:
        finished = await self.begin("/bin/cat")
        self.assertEqual((finished.stdout, finished.exit_code), (b"", 0))

    async def test_grandchild_that_holds_the_input_and_never_reads(self) -> None:
        pid = self.folder / "pid"
        script = f"exec 3<&0; sleep 60 <&3 >/dev/null 2>&1 & echo $! > {pid}; exit 0"
        finished = await self.sh(script, stdin=b"x" * 1_000_000)
        self.assertTrue(finished.succeeded)
        self.assertTrue(alive(number_in(pid)))
        os.kill(number_in(pid), signal.SIGKILL)


class OutputTests(RunnerTestCase):
    async def test_a_cap_keeps_the_head_of_stdout_and_the_tail_of_stderr(self) -> None:
        script = "seq 100000; seq 100000 >&2"
        finished = await self.sh(script, output_limit=12)
        self.assertEqual(finished.stdout, b"1\n2\n3\n4\n5\n6\n")
        self.assertEqual(finished.stderr, b"9999\n100000\n"[-12:])
        self.assertTrue(finished.truncated)
        self.assertEqual(finished.exit_code, 0)

    async def test_exactly_the_cap_is_not_truncated(self) -> None:
        finished = await self.sh("printf 1234", output_limit=4)
        self.assertEqual((finished.stdout, finished.truncated), (b"1234", False))

    async def test_all_that_was_written_before_the_exit_arrives_though_the_reactor_was_busy(self) -> None:
        script = "sleep 60 & echo $! >&2; head -c 60000 /dev/zero"  # the sleep holds both pipes open
        run = self.sh(script)
        (child,) = self.runner._children
        exited = child.processExited

        def exited_before_a_long_turn(reason: Failure) -> None:
            exited(reason)
            time.sleep(child_module.PIPE_GRACE + 0.1)

        self.patch(child, "processExited", exited_before_a_long_turn)
        wait_for(lambda: not alive(child.pid), "the exit of the child, of which the reactor knows nothing")
        finished = await run
        self.assertEqual(len(finished.stdout), 60000)
        os.kill(int(finished.stderr), signal.SIGKILL)

    async def test_grandchild_that_holds_the_pipes_does_not_hold_up_the_result(self) -> None:
        finished = await self.sh("sleep 60 & echo $!", timeout=50)
        pid = int(finished.stdout)
        self.assertFalse(finished.timed_out)
        self.assertTrue(alive(pid))  # a daemon that a script leaves is its right
        os.kill(pid, signal.SIGKILL)

    async def test_grandchild_that_writes_for_ever_does_not_either(self) -> None:
        pid = self.folder / "pid"
        finished = await self.sh(f"yes & echo $! > {pid}", timeout=50)
        self.assertFalse(finished.timed_out)
        await eventually(lambda: not alive(number_in(pid)), "the SIGPIPE of the writer")


class TerminatingTests(RunnerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(child_module, "TERMINATE_GRACE", 0.3)
        self.pid = self.folder / "pid"

    async def test_timeout(self) -> None:
        finished = await self.sh("echo before; sleep 60", timeout=0.2)
        self.assertTrue(finished.timed_out)
        self.assertFalse(finished.succeeded)
        self.assertEqual((finished.stdout, finished.signal), (b"before\n", signal.SIGTERM))
        self.assertEqual(finished.describe(), "timed out")

    async def test_timeout_reaches_the_whole_group(self) -> None:
        await self.sh(f"sleep 60 & echo $! > {self.pid}; wait", timeout=0.3)
        await eventually(lambda: not alive(number_in(self.pid)), "the end of the grandchild")

    async def test_timeout_with_term_ignored(self) -> None:
        finished = await self.sh(f"trap '' TERM; sleep 60 & echo $! > {self.pid}; wait; wait", timeout=0.3)
        self.assertEqual(finished.signal, signal.SIGKILL)
        await eventually(lambda: not alive(number_in(self.pid)), "the end of the grandchild")

    async def test_grandchild_that_ignores_term_goes_with_the_child(self) -> None:
        script = f"(trap '' TERM; echo $$ >/dev/null; sleep 60; sleep 60) & echo $! > {self.pid}; wait"
        await self.sh(script, timeout=0.3)
        await eventually(lambda: not alive(number_in(self.pid)), "the end of the grandchild")

    async def test_success_just_after_term_is_still_timed_out(self) -> None:
        finished = await self.sh("trap 'exit 0' TERM; while :; do sleep 0.05; done", timeout=0.3)
        self.assertEqual((finished.exit_code, finished.timed_out, finished.succeeded), (0, True, False))

    async def test_cancel_kills_the_group_and_reaps(self) -> None:
        run = self.sh(f"trap '' TERM; sleep 60 & echo $$ > {self.pid}; wait; wait")
        pid = await eventually(lambda: number_in(self.pid), "the start")
        run.cancel()
        await self.assertFailure(run, CancelledError)
        await eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the reaping")

    async def test_cancel_before_the_session_exists(self) -> None:
        self.patch(child_module, "TERMINATE_GRACE", 1000.0)
        run = self.sh("sleep 60")
        run.cancel()
        await self.assertFailure(run, CancelledError)
        await eventually(lambda: set(children()) <= self.before, "the reaping")

    async def test_cancel_of_a_coroutine_that_awaits_it(self) -> None:
        async def outer() -> None:
            await self.runner.run(["/bin/sh", "-c", f"echo $$ > {self.pid}; sleep 60"])

        task = Deferred.fromCoroutine(outer())
        pid = await eventually(lambda: number_in(self.pid), "the start")
        task.cancel()
        await self.assertFailure(task, CancelledError)
        await eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the reaping")

    async def test_stop_ends_all_and_refuses_more(self) -> None:
        runs = [self.sh("trap '' TERM; while :; do sleep 0.1; done"), self.sh("sleep 60")]
        await deferLater(reactor, 0.2)
        await self.runner.stop()
        self.assertLessEqual(set(children()), self.before)
        signals = [finished.signal for finished in await gatherResults(runs)]
        self.assertEqual(signals, [signal.SIGKILL, signal.SIGTERM])
        with self.assertRaises(ProcessError):
            await self.runner.run(["/bin/true"])

    async def test_stop_of_nothing(self) -> None:
        await self.runner.stop()

    async def test_a_receiver_that_fails_ends_the_child(self) -> None:
        def receive(descriptor: int, data: bytes) -> None:
            raise RuntimeError("no room")

        child = self.runner.start(["/bin/sh", "-c", "echo x; sleep 60"], receive)
        with self.assertRaises(RuntimeError):
            await self.runner.attend(child, 30)
        self.assertFalse(alive(child.pid))
