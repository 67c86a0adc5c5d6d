from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from appliance.rpc.plugins.turns import Crowded, Turns


class TurnsTests(SynchronousTestCase):
    def take(self, caller: str, size: int = 0) -> "Deferred[None]":
        turn = Deferred.fromCoroutine(self.turns.take(caller, size))
        _ = turn.addCallback(lambda _: self.served.append(caller))
        return turn

    def setUp(self) -> None:
        self.served: list[str] = []
        self.turns = Turns(4)

    def test_as_many_as_there_are(self) -> None:
        for caller in "abcdef":
            _ = self.take(caller)
        self.assertEqual("".join(self.served), "abcd")
        self.turns.give_back("b")
        self.assertEqual("".join(self.served), "abcde")
        self.assertEqual(self.turns.waiting, 1)

    def test_nobody_gets_all(self) -> None:
        for _ in range(9):
            _ = self.take("a")
        self.assertEqual("".join(self.served), "aaa")
        _ = self.take("b")
        self.assertEqual("".join(self.served), "aaab")

    def test_where_there_is_one_turn_it_is_for_all(self) -> None:
        self.turns = Turns(1)
        for caller in "aab":
            _ = self.take(caller)
        for caller in "aab":
            self.turns.give_back(caller)
        self.assertEqual("".join(self.served), "aab"[:1] + "ab")

    def test_round_robin(self) -> None:
        self.turns = Turns(1)
        for caller in "aaaabbc":
            _ = self.take(caller)
        for caller in "aabcab":
            self.turns.give_back(caller)
        self.assertEqual("".join(self.served), "aabcaba")

    def test_leaving_the_queue(self) -> None:
        self.turns = Turns(1)
        _ = self.take("a")
        leaving, staying = self.take("b", 10), self.take("b", 20)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.turns.give_back("a")
        self.successResultOf(staying)
        self.turns.give_back("b")
        self.assertEqual(self.turns.waiting, 0)
        self.successResultOf(self.take("c"))

    def test_the_queue_is_bounded(self) -> None:
        self.turns = Turns(1, waiting_limit=2, size_limit=100)
        _ = self.take("a", 1000)  # does not wait, so nothing is held
        _ = self.take("b", 60)
        self.failureResultOf(self.take("c", 41), Crowded)
        last = self.take("c", 40)
        self.failureResultOf(self.take("d"), Crowded)
        last.cancel()
        self.failureResultOf(last, CancelledError)
        _ = self.take("d", 40)
        self.assertEqual(self.turns.waiting, 2)

    def test_closing(self) -> None:
        for _ in range(3):
            _ = self.take("a")
        waiting = [self.take("a"), self.take("a")]
        self.turns.close()
        for each in waiting:
            self.failureResultOf(each, Crowded)
        self.failureResultOf(self.take("b"), Crowded)
        self.turns.give_back("a")
        self.assertEqual(self.turns.waiting, 0)
