import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from appliance.process.errors import ProcessError
from appliance.process.run import Finished, ProcessRunner
from appliance.process.stream import stream
from tests.support.processes import alive, children, eventually, number_in

reactor: Any = global_reactor


@implementer(IConsumer)
class Taker:
    """A consumer that remembers, and may pause its producer after each `pause_every` bytes."""

    def __init__(self, pause_every: int = 0) -> None:
        self.producer: Any = None
        self.taken = 0
        self.largest = 0
        self.data: list[bytes] = []
        self.registrations = 0
        self._pause_every = pause_every
        self._since = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        verifyObject(IPushProducer, producer)
        self.producer = producer
        self.registrations += 1

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.data.append(data)
        self.taken += len(data)
        self._since += len(data)
        if self._pause_every and self._since >= self._pause_every:
            self.largest = max(self.largest, self._since)
            self._since = 0
            self.producer.pauseProducing()
            reactor.callLater(0.001, self.go_on)

    def go_on(self) -> None:
        if self.producer is not None:
            self.producer.resumeProducing()


class StreamTests(TestCase):
    def setUp(self) -> None:
        self.runner = ProcessRunner(reactor)
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.before = set(children())

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.runner.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")

    def sh(self, script: str, taker: Taker, **options: Any) -> Deferred[Finished]:
        return Deferred.fromCoroutine(stream(self.runner, ["/bin/sh", "-c", script], taker, **options))

    async def test_output_goes_to_the_consumer_and_the_exit_is_known(self) -> None:
        taker = Taker()
        finished = await self.sh("cat; echo no >&2; exit 4", taker, stdin=b"hello")
        self.assertEqual(b"".join(taker.data), b"hello")
        self.assertEqual((finished.exit_code, finished.stdout, finished.stderr), (4, b"", b"no\n"))
        self.assertIsNone(taker.producer)
        self.assertEqual(taker.registrations, 1)

    async def test_a_slow_consumer_gets_everything_and_holds_the_child_back(self) -> None:
        taker = Taker(pause_every=65536)
        finished = await self.sh("head -c 5000000 /dev/zero", taker)
        self.assertEqual((taker.taken, finished.exit_code), (5_000_000, 0))
        self.assertLess(taker.largest, 65536 + 65536)

    async def test_a_paused_child_waits(self) -> None:
        written = self.folder / "written"
        script = (
            "import os, sys\n"
            f"f = open({str(written)!r}, 'w')\n"
            "for n in range(100): os.write(1, b'x' * 65536); f.seek(0); f.write(str(n + 1)); f.flush()\n"
        )
        taker = Taker()
        run = Deferred.fromCoroutine(stream(self.runner, [sys.executable, "-c", script], taker))
        taker.producer.pauseProducing()
        await eventually(lambda: number_in(written), "the first block")
        await deferLater(reactor, 0.3)
        self.assertLess(number_in(written), 5)  # what the pipe holds
        self.assertEqual(taker.taken, 0)
        taker.producer.resumeProducing()
        finished = await run
        self.assertEqual((taker.taken, finished.exit_code), (6_553_600, 0))

    async def test_what_a_child_left_in_the_pipe_waits_for_a_paused_consumer(self) -> None:
        taker = Taker()
        run = self.sh("printf all", taker)
        taker.producer.pauseProducing()
        await deferLater(reactor, 0.6)
        self.assertFalse(run.called)
        taker.producer.resumeProducing()
        finished = await run
        self.assertEqual((taker.data, finished.exit_code), ([b"all"], 0))

    async def test_the_consumer_goes(self) -> None:
        taker = Taker()
        run = self.sh("yes", taker)
        await eventually(lambda: taker.taken, "the first output")
        taker.producer.stopProducing()
        taken = taker.taken
        finished = await run
        self.assertEqual(finished.signal, signal.SIGTERM)
        self.assertTrue(finished.truncated)
        self.assertEqual(taker.taken, taken)

    async def test_the_consumer_goes_while_it_is_paused(self) -> None:
        taker = Taker()
        run = self.sh("echo x; exec sleep 60", taker)
        taker.producer.pauseProducing()
        await deferLater(reactor, 0.1)
        taker.producer.stopProducing()
        self.assertEqual((await run).signal, signal.SIGTERM)

    async def test_timeout_of_a_consumer_that_stays_paused(self) -> None:
        taker = Taker()
        run = self.sh("echo x", taker, timeout=0.5)
        taker.producer.pauseProducing()
        finished = await run
        self.assertEqual((finished.exit_code, finished.timed_out), (0, True))

    async def test_cancel(self) -> None:
        taker = Taker()
        pid = self.folder / "pid"
        run = self.sh(f"echo $$ > {pid}; yes", taker)
        number = await eventually(lambda: number_in(pid), "the start")
        run.cancel()
        await self.assertFailure(run, CancelledError)
        self.assertIsNone(taker.producer)
        await eventually(lambda: not alive(number), "the end of the child")

    async def test_a_consumer_that_has_a_producer_already(self) -> None:
        class Taken(Taker):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                raise RuntimeError("there is one already")

        with self.assertRaises(RuntimeError):
            await stream(self.runner, ["/bin/sleep", "60"], Taken())

    async def test_missing_program(self) -> None:
        taker = Taker()
        with self.assertRaises(ProcessError):
            await stream(self.runner, ["/no/such"], taker)
        self.assertEqual(taker.registrations, 0)

    async def test_grandchild_that_holds_the_pipe(self) -> None:
        taker = Taker()
        await self.sh("sleep 60 & echo $!", taker)
        os.kill(int(b"".join(taker.data)), signal.SIGKILL)
