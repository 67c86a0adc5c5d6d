from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from appliance.host.containers import log_text
from appliance.host.containers.errors import NoRuntime, RuntimeAbsent
from appliance.host.containers.log_text import read_text
from appliance.host.containers.runtime import Runtimes
from appliance.host.errors import Invalid, Unavailable, Unknown


class Box:
    """A runtime that is there or not."""

    def __init__(self, name: str, there: bool = True) -> None:
        self.names = frozenset((name, f"{name}-like"))
        self.called = name
        self.there = there
        self.asked = 0

    async def name(self) -> str:
        if not self.there:
            raise RuntimeAbsent(self.called)
        return self.called

    async def containers(self) -> Any:
        self.asked += 1
        return [self.called]

    async def gone(self) -> Any:
        raise RuntimeAbsent("just now")

    async def unknown(self) -> Any:
        raise Unknown("no such container")


class RuntimesTests(SynchronousTestCase):
    def ask(self, *boxes: Box, work: str = "containers", named: str = "") -> Any:
        runtimes: Any = Runtimes(boxes)  # type: ignore[arg-type]
        return Deferred.fromCoroutine(runtimes.ask(lambda box: getattr(box, work)(), named))

    def test_the_first_that_is_there(self) -> None:
        absent, first, second = Box("a", there=False), Box("b"), Box("c")
        self.assertEqual(self.successResultOf(self.ask(absent, first, second)), (["b"], "b"))
        self.assertEqual((absent.asked, second.asked), (0, 0))

    def test_one_by_its_name(self) -> None:
        self.assertEqual(self.successResultOf(self.ask(Box("b"), Box("c"), named="c")), (["c"], "c"))
        self.failureResultOf(self.ask(Box("b"), Box("c", there=False), named="c"), NoRuntime)
        self.failureResultOf(self.ask(Box("b"), named="b-like"), NoRuntime)
        self.failureResultOf(self.ask(Box("b"), named="x"), Invalid)

    def test_one_that_goes_while_it_is_asked(self) -> None:
        self.failureResultOf(self.ask(Box("a"), work="gone"), NoRuntime)

    def test_a_refusal_is_the_answer(self) -> None:
        second = Box("b")
        self.failureResultOf(self.ask(Box("a"), second, work="unknown"), Unknown)
        self.assertEqual(second.asked, 0)

    def test_none(self) -> None:
        self.failureResultOf(self.ask(Box("a", there=False)), NoRuntime)


class Log:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = 0

    async def read(self) -> bytes:
        if not self.pieces:
            await Deferred()
        return self.pieces.pop(0)

    def close(self) -> None:
        self.closed += 1


class LogTextTests(TestCase):
    async def read(self, *pieces: bytes) -> tuple[str, bool]:
        log = Log(*pieces)
        try:
            found = await read_text(global_reactor, log)
        finally:
            self.assertEqual(log.closed, 1)
        return found.text, found.truncated

    async def test_all_of_a_short_one(self) -> None:
        self.assertEqual(await self.read(b"gr\xc3", b"\xbcn\n", b""), ("grün\n", False))
        self.assertEqual(await self.read(b"\xff\n", b""), ("\ufffd\n", False))
        self.assertEqual(await self.read(b""), ("", False))

    async def test_the_end_of_a_long_one_from_the_beginning_of_a_line(self) -> None:
        self.patch(log_text, "TEXT_LIMIT", 10)
        self.assertEqual(await self.read(*[b"line %d\n" % number for number in range(9)], b""), ("line 8\n", True))

    async def test_one_that_does_not_end(self) -> None:
        self.patch(log_text, "_READ_SECONDS", 0.02)
        with self.assertRaises(Unavailable):
            await self.read(b"begun")
