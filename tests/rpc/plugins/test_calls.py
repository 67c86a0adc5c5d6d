"""Calls of plugins that are started as processes, branch by branch."""

import hashlib
import json
import os
import signal
from pathlib import Path

from twisted.internet import process
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from appliance.process.descriptors import trust_close_on_exec
from appliance.rpc.plugins.outcome import Outcome
from tests.support.plugins import PluginsTestCase, reactor, shell
from tests.support.processes import alive, eventually, number_in


class EndingTests(PluginsTestCase):
    async def test_the_output_comes_as_it_is(self) -> None:
        outcome = await self.run_shell("cat", {"message": "hello"})
        self.assertEqual(outcome, Outcome("exited", output=b'{"message": "hello"}'))

    async def test_exit_codes_come_with_the_output(self) -> None:
        for code in (1, 3, 4, 127, 255):
            outcome = await self.run_shell(f"echo half; exit {code}")
            self.assertEqual(outcome, Outcome("exited", exit_code=code, output=b"half\n"))

    async def test_signals(self) -> None:
        for number in (9, 15, 11, 40):
            outcome = await self.run_shell(f"kill -{number} $$")
            self.assertEqual(outcome, Outcome("signalled", signal=number))

    async def test_what_is_no_json_comes_whole(self) -> None:
        for text in (b'{"a": ', b'{"a":1}{"b":2}', b"NaN", b"\xff\xfe", b""):
            (self.folder / "text").write_bytes(text)
            outcome = await self.run_shell(f"cat {self.folder}/text")
            self.assertEqual(outcome, Outcome("exited", output=text))

    async def test_standard_error_does_not_spoil_the_output(self) -> None:
        outcome = await self.run_shell("echo noise >&2; echo 1; echo noise >&2; exec 2>&-; echo 2")
        self.assertEqual(outcome.output, b"1\n2\n")

    async def test_standard_error_without_end_is_bounded_and_hinders_nobody(self) -> None:
        outcome = await self.run_shell("head -c 50000000 /dev/zero >&2; echo done")
        self.assertEqual(outcome.output, b"done\n")

    async def test_a_program_that_cannot_be_executed(self) -> None:
        self.add("one", shell("true"))
        await self.start()
        (self.folder / "one").write_text("#!/no/such/interpreter\n")
        self.assertEqual((await self.call("one")).kind, "no_object")  # it lists no methods

    async def test_one_that_vanishes_while_it_waits_for_its_turn(self) -> None:
        self.add("one", shell("true"))
        self.add("slow", shell(f"echo $$ > {self.folder}/pid; read -r line"))
        plugins = await self.start(parallel=1)
        await deferLater(reactor, 0.2)  # so that neither is asked for its list again
        await plugins.refresh()
        first = self.begin("slow", b"x" * 100_000)
        await eventually(lambda: number_in(self.folder / "pid"), "the start")
        os.kill(number_in(self.folder / "pid"), signal.SIGSTOP)
        second = self.begin("one")
        await eventually(lambda: plugins._turns.waiting == 1, "the waiting")
        (self.folder / "one").unlink()
        os.kill(number_in(self.folder / "pid"), signal.SIGCONT)
        self.assertEqual([(await first).kind, (await second).kind], ["exited", "unavailable"])
        self.assertEqual((await self.call("one")).kind, "no_object")


class InputTests(PluginsTestCase):
    async def test_payloads_of_all_sizes_arrive_whole(self) -> None:
        self.add("one", shell("sleep 0.05; sha256sum"))
        for size in (0, 1, 70_000, 1 << 20, 10 << 20):
            payload = os.urandom(1 << 16) * (size >> 16) + os.urandom(size & 0xFFFF)
            outcome = await self.call("one", payload)
            self.assertEqual(outcome.output.split()[0].decode(), hashlib.sha256(payload).hexdigest())

    async def test_one_that_reads_nothing_hinders_nobody(self) -> None:
        outcome = await self.run_shell("echo 1", b"x" * (10 << 20))
        self.assertEqual(outcome.output, b"1\n")

    async def test_one_that_closes_its_input(self) -> None:
        outcome = await self.run_shell("exec 0<&-; sleep 0.1; echo 1", b"x" * (10 << 20))
        self.assertEqual(outcome.output, b"1\n")

    async def test_one_that_reads_late_and_answers_meanwhile(self) -> None:
        # What it prints fills its pipe before it has read anything: nobody must wait for the other.
        outcome = await self.run_shell("head -c 1000000 /dev/zero; cat", b"x" * 1_000_000)
        self.assertEqual(outcome.output, bytes(1_000_000) + b"x" * 1_000_000)


class OutputTests(PluginsTestCase):
    async def test_fifty_megabytes(self) -> None:
        outcome = await self.run_shell("head -c 50000000 /dev/zero")
        self.assertEqual((outcome.kind, len(outcome.output)), ("exited", 50_000_000))

    async def test_just_the_limit(self) -> None:
        await self.start(output_limit=100_000)
        outcome = await self.run_shell("head -c 100000 /dev/zero")
        self.assertEqual((outcome.kind, len(outcome.output)), ("exited", 100_000))

    async def test_beyond_the_limit(self) -> None:
        await self.start(output_limit=100_000)
        outcome = await self.run_shell("head -c 100001 /dev/zero")
        self.assertEqual(outcome, Outcome("too_large"))

    async def test_output_without_end_is_ended(self) -> None:
        await self.start(output_limit=100_000)
        outcome = await self.run_shell(f"echo $$ > {self.folder}/pid; yes")
        self.assertEqual(outcome, Outcome("too_large"))
        self.assertFalse(alive(number_in(self.folder / "pid")))

    async def test_all_together_have_a_limit_too(self) -> None:
        self.add("one", shell(f"head -c 90000 /dev/zero; echo $$ >> {self.folder}/pids; read -r line"))
        plugins = await self.start(output_limit=100_000)
        calls = [self.begin("one", b"x" * 200_000, caller=str(number)) for number in range(4)]
        await eventually(lambda: len(_lines(self.folder / "pids")) == 4, "the start of all")
        await eventually(lambda: plugins._budget._left == 40_000, "their output")
        self.assertEqual(await self.call("one"), Outcome("unavailable"))
        for pid in map(int, _lines(self.folder / "pids")[:4]):
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(await gatherResults(calls), [Outcome("signalled", signal=9)] * 4)
        self.assertEqual(plugins._budget._left, 400_000)

    async def test_a_background_child_that_holds_the_output_delays_nothing(self) -> None:
        outcome = await self.run_shell(f"sleep 600 & echo $! > {self.folder}/pid; echo 1")
        self.assertEqual(outcome, Outcome("exited", output=b"1\n"))  # and no timeout
        pid = number_in(self.folder / "pid")
        self.addCleanup(os.kill, pid, 9)
        self.assertTrue(alive(pid))

    async def test_a_background_child_goes_on_printing(self) -> None:
        # More than a pipe holds, and more than one look takes: it would hang, or die of SIGPIPE.
        script = f"(sleep 0.1; head -c 300000 /dev/zero; echo $? > {self.folder}/code) & echo 1"
        self.assertEqual(await self.run_shell(script), Outcome("exited", output=b"1\n"))
        await eventually(lambda: _lines(self.folder / "code") == ["0"], "the success of the background child")

    async def test_the_last_word_of_a_background_child_counts_where_there_is_no_other(self) -> None:
        outcome = await self.run_shell("(sleep 0.02; echo 1) &")
        self.assertEqual(outcome.output, b"1\n")

    async def test_no_word_at_all_is_waited_for_a_moment_only(self) -> None:
        outcome = await self.run_shell(f"sleep 600 & echo $! > {self.folder}/pid")
        os.kill(number_in(self.folder / "pid"), 9)
        self.assertEqual(outcome, Outcome("exited"))

    async def test_background_children_beyond_the_limit_lose_their_output(self) -> None:
        self.add("one", shell(f"sleep 600 & echo $! >> {self.folder}/pids; echo 1"))
        await self.start()
        assert self.plugins is not None
        drains = self.plugins._drains
        drains._limit = 6
        for _ in range(5):
            await self.call("one")
        self.assertEqual(len(drains), 6)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        for pid in (self.folder / "pids").read_text().split():
            os.kill(int(pid), 9)
        await eventually(lambda: not len(drains), "the end of what is drained")


class TimeTests(PluginsTestCase):
    async def test_one_that_hangs_is_ended_with_its_children(self) -> None:
        script = f"sleep 600 & echo $! > {self.folder}/child; echo $$ > {self.folder}/pid; echo 1; wait"
        outcome = await self.run_shell(script, timeout=0.5)
        self.assertEqual(outcome, Outcome("timeout"))
        await self.gone("pid", "child")

    async def test_one_that_ignores_term_is_killed(self) -> None:
        script = f"trap '' TERM; sleep 600 & echo $! > {self.folder}/child; echo $$ > {self.folder}/pid; "
        script += "while :; do sleep 1; done"
        outcome = await self.run_shell(script, timeout=0.3)
        self.assertEqual(outcome, Outcome("timeout"))
        await self.gone("pid", "child")

    async def test_one_that_is_stopped_is_killed(self) -> None:
        self.assertEqual(await self.run_shell("kill -STOP $$", timeout=0.3), Outcome("timeout"))

    async def test_one_that_tidies_up_at_term_gets_the_time_for_it(self) -> None:
        script = f"trap 'sleep 0.2; echo > {self.folder}/tidy; exit' TERM; while :; do sleep 0.05; done"
        self.assertEqual(await self.run_shell(script, timeout=0.5), Outcome("timeout"))
        self.assertTrue((self.folder / "tidy").exists())

    async def test_the_time_counts_from_the_start_of_the_process(self) -> None:
        self.add("slow", shell(f"echo $$ > {self.folder}/pid; until [ -e {self.folder}/go ]; do sleep 0.05; done"))
        self.add("quick", shell("echo 1"))
        await self.start(parallel=1)
        slow = self.begin("slow")
        await eventually(lambda: number_in(self.folder / "pid"), "the start")
        quick = self.begin("quick", timeout=2)
        await deferLater(reactor, 2.2)
        (self.folder / "go").touch()
        self.assertEqual([(await slow).kind, (await quick).output], ["exited", b"1\n"])


class CancellingTests(PluginsTestCase):
    async def test_cancelling_ends_the_whole_group(self) -> None:
        self.add("one", shell(f"sleep 600 & echo $! > {self.folder}/child; echo $$ > {self.folder}/pid; wait"))
        await self.start()
        call = self.begin("one")
        await eventually(lambda: number_in(self.folder / "pid"), "the start")
        call.cancel()
        await self.assertFailure(call, CancelledError)
        await self.gone("pid", "child")

    async def test_a_hundred_that_go_leave_nothing(self) -> None:
        self.add("one", shell(f"echo $$ >> {self.folder}/pids; sleep 600; echo 1"))
        await self.start(parallel=12)
        calls = [self.begin("one", caller=str(number % 7)) for number in range(100)]
        await eventually(lambda: len(_lines(self.folder / "pids")) >= 12, "the start of as many as may run")
        for call in calls:
            call.cancel()
            await self.assertFailure(call, CancelledError)
        self.add("two", shell("echo 2"))
        self.assertEqual((await self.call("two")).output, b"2\n")
        pids = _lines(self.folder / "pids")
        await eventually(lambda: not any(alive(int(pid)) for pid in pids), "the end of all")
        self.assertLessEqual(len(pids), 12)

    async def test_stopping_ends_all_and_answers_all(self) -> None:
        self.add("one", shell(f"echo $$ >> {self.folder}/pids; sleep 600; echo 1"))
        await self.start(parallel=4)
        calls = [self.begin("one", caller=str(number)) for number in range(10)]
        await eventually(lambda: len(_lines(self.folder / "pids")) == 4, "the start of as many as may run")
        assert self.plugins is not None
        await self.plugins.stop()
        self.assertEqual({(await call).kind for call in calls}, {"unavailable"})
        self.assertFalse(any(alive(int(pid)) for pid in _lines(self.folder / "pids")))
        self.assertEqual((await self.call("one")).kind, "unavailable")


class ParallelTests(PluginsTestCase):
    async def test_two_hundred_at_once(self) -> None:
        counter = self.folder / "running"
        counter.mkdir()
        self.add("one", shell(f"mkdir {counter}/$$; ls {counter} | wc -l; sleep 0.2; rmdir {counter}/$$"))
        await self.start(parallel=16)
        order: list[str] = []

        async def call(caller: str) -> Outcome:
            outcome = await self.begin("one", caller=caller)
            order.append(caller)
            return outcome

        callers = ["few" if number % 20 == 19 else "many" for number in range(200)]
        outcomes = await gatherResults([Deferred.fromCoroutine(call(caller)) for caller in callers])
        self.assertEqual({(outcome.kind, outcome.exit_code) for outcome in outcomes}, {("exited", 0)})
        self.assertLessEqual(max(int(outcome.output) for outcome in outcomes), 16)
        # The ten of the other caller do not wait for the hundred that came before.
        self.assertLess(max(index for index, caller in enumerate(order) if caller == "few"), 100)


class SurroundingsTests(PluginsTestCase):
    async def test_what_a_plugin_finds(self) -> None:
        self.patch(process, "_listOpenFDs", process._listOpenFDs)
        trust_close_on_exec()  # as the server does
        os.environ["MUST_NOT_LEAK"] = "1"
        self.addCleanup(os.environ.pop, "MUST_NOT_LEAK")
        script = "pwd; umask; ls /proc/self/fd | tr '\\n' ' '; echo; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; "
        script += "grep -E 'Sig(Ign|Blk)' /proc/self/status | cut -f2 | tr '\\n' ' '; echo; "
        script += "cut -d' ' -f5,6 /proc/$$/stat; echo $$; echo \"$0\""
        outcome = await self.run_shell(script)
        place, umask, descriptors, names, signals, group, pid, itself = outcome.output.decode().splitlines()
        self.assertEqual((place, umask, itself), ("/", "0077", str(self.folder / "one")))
        self.assertEqual(descriptors.split(), ["0", "1", "2", "3", "4"])  # the last is the one ls reads by
        self.assertEqual(set(names.split()), {"LANG", "PATH", "PWD"})
        # glibc's posix_spawn has its own two signals, 32 and 33, ignored; it takes them back where it needs them.
        blocked, ignored = (int(each, 16) for each in signals.split())
        self.assertEqual((blocked, ignored & ~(0b11 << 31)), (0, 0))
        self.assertEqual(group.split(), [pid, pid])

    async def test_arguments(self) -> None:
        self.add("one", '#!/bin/sh\n[ "$1" = list ] && echo \'{"a b": {}, "--x": {}}\' || echo "$#" "$@"\n')
        await self.start()
        for method in ("a b", "--x"):
            outcome = await self.call("one", {"password": "hidden"}, method=method)
            self.assertEqual(outcome.output.decode(), f"2 call {method}\n")

    async def test_no_secret_in_any_argument_or_environment(self) -> None:
        self.add("one", shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"))
        outcome = await self.call("one", {"password": "unmistakable-5e4f"})
        self.assertIn(b"list", b"list" + outcome.output)
        self.assertNotIn(b"unmistakable-5e4f", outcome.output)
        self.assertIn(str(self.folder).encode(), outcome.output)  # it saw itself, at least


class ProgressTests(PluginsTestCase):
    async def test_progress(self) -> None:
        seen: list[int] = []
        script = 'for n in 5 50.4 -1 200; do echo "{\\"progress\\":$n}" >&3; sleep 0.1; done; echo nonsense >&3; cat'
        outcome = await self.run_shell(script, {"a": 1}, progress=seen.append)
        self.assertEqual(outcome.output, b'{"a": 1}')
        self.assertEqual(seen[-1], 100)
        self.assertLessEqual(set(seen), {5, 50, 0, 100})  # those that come together count as one

    async def test_nobody_asked_for_it(self) -> None:
        outcome = await self.run_shell("set -e; echo '{\"progress\":5}' >&3; echo done")
        self.assertEqual(outcome.output, b"done\n")


class MethodTests(PluginsTestCase):
    async def test_what_there_is_not(self) -> None:
        self.add("one", shell("echo 1"))
        await self.start()
        for name in ("two", "", ".", "..", "../one", "one/", f"{self.folder}/one", "one\0", "o" * 200, "öne"):
            self.assertEqual((await self.call(name)).kind, "no_object", name)
        for method in ("", "list", "call", "run2", "Run", "ru*", "run "):
            self.assertEqual((await self.call("one", method=method)).kind, "no_method", method)


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_the_outcome_is_plain_data() -> None:
    assert json.loads(json.dumps(Outcome("timeout").kind)) == "timeout"
