from functools import partial
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.process.dialogue import Dialogue
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner
from tests.support.processes import children, eventually

reactor: Any = global_reactor


class DialogueTests(TestCase):
    def setUp(self) -> None:
        self.runner = ProcessRunner(reactor)
        self.heard = b""
        self.before = set(children())

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.runner.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")

    def begin(self, *argv: str, **options: Any) -> Dialogue:
        return self.runner.converse(argv, self.hear, **options)

    def hear(self, descriptor: int, data: bytes) -> None:
        self.heard += data

    def has_heard(self, count: int) -> bool:
        return len(self.heard) == count

    async def test_question_and_answer(self) -> None:
        child = self.begin("/bin/cat")
        for word in (b"one\n", b"two\n"):
            self.heard = b""
            child.write(word)
            await eventually(partial(self.has_heard, len(word)), "the answer")
            self.assertEqual(self.heard, word)
        child.close_input()
        self.assertEqual((await child.wait()).exit_code, 0)

    async def test_what_was_written_before_the_end_arrives(self) -> None:
        child = self.begin("/bin/cat")
        child.write(b"x" * 200_000)
        child.close_input()
        await child.wait()
        self.assertEqual(len(self.heard), 200_000)

    async def test_a_child_that_does_not_read_costs_no_memory_without_end(self) -> None:
        child = self.begin("/bin/sleep", "60")
        with self.assertRaises(ProcessError) as caught:
            for _ in range(100):
                child.write(b"x" * 65536)
        self.assertIn("does not read", str(caught.exception))
        child.terminate()
        await child.wait()

    async def test_it_may_write_again_once_the_child_has_read(self) -> None:
        child = self.begin("/bin/cat")
        sent = 0
        for _ in range(40):
            try:
                child.write(b"x" * 65536)
                sent += 65536
            except ProcessError:
                await eventually(partial(self.has_heard, sent), "all that was written")
        self.assertGreater(sent, 20 * 65536)
        child.close_input()
        await child.wait()

    async def test_writing_to_one_that_has_ended_is_harmless(self) -> None:
        child = self.begin("/bin/true")
        await child.wait()
        child.write(b"x" * 200_000)
        child.write(b"x")

    async def test_one_that_closes_its_input_early(self) -> None:
        child = self.begin("/bin/sh", "-c", "exec 0<&-; sleep 0.2; echo done")
        child.write(b"x" * 200_000)
        self.assertEqual((await child.wait()).exit_code, 0)
        self.assertEqual(self.heard, b"done\n")

    async def test_stopping_the_runner_ends_it(self) -> None:
        child = self.begin("/bin/cat")
        await self.runner.stop()
        self.assertIsNotNone(child.ending)
        with self.assertRaises(ProcessError):
            self.begin("/bin/cat")

    async def test_a_program_that_is_missing(self) -> None:
        with self.assertRaises(ProcessError):
            self.begin("/no/such/program")

    async def test_its_environment(self) -> None:
        child = self.begin("/usr/bin/env", env={"A": "b"})
        await child.wait()
        self.assertEqual(self.heard, b"A=b\n")
