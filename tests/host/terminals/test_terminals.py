"""Real shells, run as user nobody, and viewers that are slow, leave and come back."""

import gc
import os
import pwd
import weakref
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from appliance.background import Background
from appliance.host.errors import Conflict, Invalid, Unavailable, Unknown
from appliance.host.terminals import terminals as module
from appliance.host.terminals.output import Piece
from appliance.host.terminals.session import HELD_ALONE, Ended, Reason, TerminalSession
from appliance.host.terminals.terminals import Terminals
from appliance.identity.accounts import Accounts
from appliance.identity.nss import Account, group_numbers
from appliance.process import terminal as process_terminal
from appliance.process.terminal import Size
from appliance.threads import Threads
from tests.support.listening import reactor
from tests.support.processes import alive, children

NOBODY = pwd.getpwnam("nobody")
SIZE = Size(24, 80)
NUMBERS = "".join(f"{number}\r\n" for number in range(1, 300_001))


def account(name: str = "nobody", groups: tuple[str, ...] = ("nogroup",), locked: bool = False) -> Account:
    return Account(
        name=name,
        uid=NOBODY.pw_uid,
        gid=NOBODY.pw_gid,
        home="/nonexistent",
        shell="/bin/sh",
        groups=frozenset(groups),
        locked=locked,
        expired=False,
    )


class Looker:
    """A viewer that keeps what it is shown; it can be slow."""

    def __init__(self) -> None:
        self.slow = False
        self.pieces: list[Piece] = []
        self.end: Ended | None = None
        self.was_replaced = False
        self.asked = 0
        self.waiting: list[Deferred[None]] = []
        self._has_gone = False

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    async def drained(self) -> None:
        self.asked += 1
        if self.slow and not self._has_gone:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting

    def catch_up(self) -> None:
        self.slow = False
        self._wake()

    def lose(self) -> None:
        """The connection breaks: whoever waits is told, and the viewer stays as slow as he was."""
        self._has_gone = True
        self._wake()

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None)

    def show(self, piece: Piece) -> None:
        assert self.end is None and not self.was_replaced
        self.pieces.append(piece)

    def ended(self, ended: Ended) -> None:
        assert self.end is None
        self.end = ended

    def replaced(self) -> None:
        self.was_replaced = True


class Notes:
    """A witness."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, dict[str, object]]] = []

    async def record(self, action: str, object: str, outcome: str, details: Mapping[str, object]) -> None:
        self.entries.append((action, object, outcome, dict(details)))


class TerminalsTestCase(TestCase):
    timeout = 60
    reattach = 60.0
    idle = 3600.0

    def setUp(self) -> None:
        self.known: dict[str, Account | None] = {"nobody": account(), "games": account("games")}
        self.accounts = Accounts(reactor, Threads(reactor), lambda name: self.known[name])
        self.terminals = Terminals(
            reactor, Threads(reactor), self.accounts, per_user=3, idle=self.idle, reattach=self.reattach
        )
        self.notes = Notes()
        self.before = children()

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.terminals.stop()
        self.assertEqual(children(), self.before)

    async def until(self, condition: object) -> None:
        assert callable(condition)
        while not condition():
            await deferLater(reactor, 0.01, lambda: None)

    async def open(self, looker: Looker, *, name: str = "nobody", shell: str | None = None) -> TerminalSession:
        return await self.terminals.open(account(name), shell, SIZE, looker, self.notes)

    async def quiet(self, looker: Looker) -> TerminalSession:
        """A shell that is ready, prints no prompt and does not repeat what is typed; `looker` has seen nothing yet."""
        session = await self.open(looker)
        await session.type("PS1=; stty -echo; echo rea''dy\n")
        await self.until(lambda: "ready\r\n" in looker.text)
        looker.pieces.clear()
        return session


class ShellTests(TerminalsTestCase):
    async def test_a_shell_of_the_user(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        await session.type("id -u; id -G; stty size; echo $0 $SHELL $HOME\n")
        await self.until(lambda: "-sh" in looker.text)
        groups = " ".join(map(str, group_numbers("nobody", NOBODY.pw_gid)))
        for line in (str(NOBODY.pw_uid), groups, "24 80", "-sh /bin/sh /"):
            self.assertIn(f"{line}\r\n", looker.text)
        session.resize(Size(50, 132))
        await session.type("stty size; exit 7\n")
        await self.until(lambda: looker.end)
        self.assertIn("50 132\r\n", looker.text)
        assert looker.end is not None
        self.assertEqual((looker.end.code, looker.end.signal, looker.end.reason), (7, None, Reason.EXIT))
        self.assertFalse(alive(session.pid))

    async def test_one_that_is_killed(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        await session.type("kill -9 $$\n")
        await self.until(lambda: looker.end)
        assert looker.end is not None
        self.assertEqual((looker.end.code, looker.end.signal), (None, "SIGKILL"))

    async def test_what_is_written_down(self) -> None:
        looker = Looker()
        session = await self.open(looker, shell="/bin/bash")
        await session.type("echo a secret; exit 3\n")
        await self.until(lambda: len(self.notes.entries) == 2)
        name = f"nobody, process {session.pid}"
        start, (action, object, outcome, details) = self.notes.entries
        self.assertEqual(start, ("terminal.start", name, "success", {"shell": "/bin/bash"}))
        self.assertEqual((action, object, outcome), ("terminal.end", name, "success"))
        self.assertIsInstance(details.pop("seconds"), float)
        self.assertEqual(details, {"code": 3, "signal": None, "reason": "exit"})
        self.assertNotIn(session.id, repr(self.notes.entries))

    async def test_a_refusal_is_written_down(self) -> None:
        with self.assertRaises(Invalid):
            await self.open(Looker(), shell="/usr/bin/python3")
        ((action, object, outcome, _),) = self.notes.entries
        self.assertEqual((action, object), ("terminal.start", "nobody"))
        self.assertTrue(outcome.startswith("refused: shell: "), outcome)

    async def test_one_too_many(self) -> None:
        lookers = [Looker() for _ in range(3)]
        sessions = [await self.open(looker) for looker in lookers]
        with self.assertRaises(Conflict):
            await self.open(Looker())
        await self.open(Looker(), name="games")
        await sessions[1].type("exit\n")
        await self.until(lambda: lookers[1].end)
        await self.open(Looker())

    async def test_refused_ones_do_not_count(self) -> None:
        for _ in range(5):
            with self.assertRaises(Invalid):
                await self.open(Looker(), shell="/usr/bin/python3")
        await self.open(Looker())

    async def test_at_the_end_all_are_hung_up(self) -> None:
        self.patch(process_terminal, "TERMINATE_GRACE", 0.3)
        lookers = [Looker(), Looker()]
        sessions = [await self.open(looker) for looker in lookers]
        await sessions[0].type("trap '' HUP; echo deaf; exec sleep 1000\n")
        await self.until(lambda: "deaf\r\n" in lookers[0].text)
        await self.terminals.stop()
        self.assertFalse(any(alive(session.pid) for session in sessions))
        self.assertEqual([looker.end.reason for looker in lookers if looker.end], [Reason.SHUTDOWN] * 2)
        self.assertEqual([entry[3]["signal"] for entry in self.notes.entries[2:]], ["SIGHUP", "SIGKILL"])
        with self.assertRaises(Unavailable):
            await self.open(Looker())


class FlowTests(TerminalsTestCase):
    async def test_characters_arrive_whole(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        await session.type("printf '%060000d' 0 | sed 's/0/€/g'; printf '%030000d' 0 | sed 's/0/😀/g'; exit\n")
        await self.until(lambda: looker.end)
        self.assertEqual(looker.text.count("€"), 60_000)
        self.assertEqual(looker.text.count("😀"), 30_000)
        self.assertNotIn("\ufffd", looker.text)

    async def test_what_is_typed_is_answered_at_once_and_much_output_comes_in_large_pieces(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        await session.type("seq 1 300000; exit\n")
        await self.until(lambda: looker.end)
        self.assertTrue(looker.text == NUMBERS)
        self.assertLess(len(looker.pieces), len(NUMBERS) // 2048)

    async def test_a_slow_viewer_holds_the_program_back(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        await session.type("seq 1 300000; exit\n")
        await self.until(lambda: "1000\r\n" in looker.text)
        looker.slow = True
        shown = len(looker.pieces)
        await deferLater(reactor, 0.5, lambda: None)
        self.assertEqual(len(looker.pieces), shown)
        self.assertLess(session._output.held, HELD_ALONE)
        self.assertTrue(alive(session.pid))
        looker.catch_up()
        await self.until(lambda: looker.end)
        self.assertTrue(looker.text == NUMBERS)

    async def test_a_slow_viewer_who_goes(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        looker.slow = True
        await session.type("seq 1 5\n")
        await self.until(lambda: looker.waiting)
        looker.lose()
        await deferLater(reactor, 0.05, lambda: None)
        session.detach(looker)
        self.assertLess(looker.asked, 10)
        second = Looker()
        session.attach(second)
        await self.until(lambda: second.text == "1\r\n2\r\n3\r\n4\r\n5\r\n")

    async def test_the_end_waits_for_a_slow_viewer(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        looker.slow = True
        await session.type("seq 1 500; exit 5\n")
        await self.until(lambda: not alive(session.pid))
        await deferLater(reactor, 0.1, lambda: None)
        self.assertIsNone(looker.end)
        looker.catch_up()
        await self.until(lambda: looker.end)
        self.assertTrue(looker.text.endswith("500\r\n"))

    async def test_who_types_more_than_is_read_has_to_wait(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        await session.type("stty raw -echo; echo ready; sleep 0.5; head -c 1000000 | wc -c\n")
        await self.until(lambda: "ready\n" in looker.text)
        await session.type("x" * 500_000)
        second = Deferred.fromCoroutine(session.type("y" * 500_000))
        self.assertNoResult(second)
        await second
        await self.until(lambda: "1000000" in looker.text)


class ReattachTests(TerminalsTestCase):
    async def back(self, session: TerminalSession, looker: Looker, **options: int) -> bool:
        found, complete = await self.terminals.reattach(account(), session.id, SIZE, looker, self.notes, **options)
        self.assertIs(found, session)
        return complete

    async def test_who_comes_back_is_shown_what_was_printed_meanwhile(self) -> None:
        first, second = Looker(), Looker()
        session = await self.quiet(first)
        await session.type("echo $((6*7)); sleep 0.3; echo mean''while\n")
        await self.until(lambda: "42\r\n" in first.text)
        session.detach(first)
        await deferLater(reactor, 0.5, lambda: None)
        self.assertTrue(await self.back(session, second))
        await self.until(lambda: "meanwhile\r\n" in second.text)
        self.assertNotIn("42", second.text)
        self.assertNotIn("meanwhile\r\n", first.text)
        self.assertEqual(self.notes.entries[1][:3:2], ("terminal.reattach", "success"))

    async def test_what_was_lost_on_the_way_is_shown_again(self) -> None:
        first, second = Looker(), Looker()
        session = await self.quiet(first)
        await session.type("echo one; sleep 0.1; echo two\n")
        await self.until(lambda: first.text.count("two\r\n"))
        last = next(piece.number for piece in first.pieces if "one\r\n" in piece.text)
        session.detach(first)
        self.assertTrue(await self.back(session, second, after=last))
        await self.until(lambda: "two\r\n" in second.text)
        self.assertNotIn("one\r\n", second.text)

    async def test_without_a_viewer_the_program_waits_and_nothing_is_lost(self) -> None:
        first, second = Looker(), Looker()
        session = await self.quiet(first)
        await session.type("echo begin; read line; seq 1 300000; exit 4\n")
        await self.until(lambda: "begin\r\n" in first.text)
        await session.type("go\n")
        session.detach(first)
        await self.until(lambda: session._output.held >= HELD_ALONE)
        await deferLater(reactor, 0.3, lambda: None)
        self.assertLess(session._output.held, HELD_ALONE + (1 << 17))
        await self.back(session, second)
        await self.until(lambda: second.end)
        assert second.end is not None
        self.assertEqual(second.end.code, 4)
        self.assertTrue(first.text + second.text == "begin\r\n" + NUMBERS)

    async def test_the_end_is_kept_too(self) -> None:
        first, second = Looker(), Looker()
        session = await self.quiet(first)
        await session.type("echo begin; read line; echo last words; exit 9\n")
        await self.until(lambda: "begin\r\n" in first.text)
        session.detach(first)
        await session.type("go\n")
        await self.until(lambda: not alive(session.pid))
        await self.back(session, second)
        await self.until(lambda: second.end)
        assert second.end is not None
        self.assertEqual((second.text, second.end.code), ("last words\r\n", 9))

    async def test_a_second_viewer_takes_the_place_of_the_first(self) -> None:
        first, second = Looker(), Looker()
        session = await self.quiet(first)
        await self.back(session, second)
        self.assertTrue(first.was_replaced)
        session.detach(first)  # what comes late changes nothing
        await session.type("echo $((6*7))\n")
        await self.until(lambda: "42\r\n" in second.text)

    async def test_it_is_the_users_alone(self) -> None:
        looker = Looker()
        session = await self.quiet(looker)
        for who, id in ((account("games"), session.id), (account(), "unknown"), (account(), "")):
            with self.assertRaises(Unknown):
                await self.terminals.reattach(who, id, SIZE, Looker(), self.notes)
        self.assertFalse(looker.was_replaced)
        self.assertEqual({entry[2] for entry in self.notes.entries[1:]}, {"refused: no such terminal"})

    async def test_it_is_not_for_a_user_who_has_lost_a_group(self) -> None:
        session = await self.open(Looker())
        with self.assertRaises(Unknown):
            await self.terminals.reattach(account(groups=()), session.id, SIZE, Looker(), self.notes)


class AccountTests(TerminalsTestCase):
    async def ended(self, now: Account | None) -> None:
        looker, other = Looker(), Looker()
        session = await self.open(looker)
        await self.open(other, name="games")
        self.known["nobody"] = now
        self.accounts.forget("nobody")
        await self.terminals.look()
        await self.until(lambda: looker.end)
        assert looker.end is not None
        self.assertEqual(looker.end.reason, Reason.REVOKED)
        self.assertFalse(alive(session.pid))
        self.assertIsNone(other.end)

    async def test_an_account_that_is_locked(self) -> None:
        await self.ended(account(locked=True))

    async def test_an_account_that_is_gone(self) -> None:
        await self.ended(None)

    async def test_an_account_that_has_lost_a_group(self) -> None:
        await self.ended(account(groups=("users",)))

    async def test_one_that_has_gained_a_group_stays(self) -> None:
        looker = Looker()
        await self.open(looker)
        self.known["nobody"] = account(groups=("nogroup", "sudo"))
        self.accounts.forget("nobody")
        await self.terminals.look()
        await deferLater(reactor, 0.1, lambda: None)
        self.assertIsNone(looker.end)

    async def test_a_name_service_that_fails_ends_nothing(self) -> None:
        looker = Looker()
        await self.open(looker)
        self.accounts.forget("nobody")
        self.accounts._read = failing
        await self.terminals.look()
        await deferLater(reactor, 0.1, lambda: None)
        self.assertIsNone(looker.end)

    async def test_the_looks_come_by_themselves(self) -> None:
        self.patch(module, "LOOK_INTERVAL", 0.05)
        background = Background()
        self.terminals.start(background)
        looker = Looker()
        await self.open(looker)
        self.known["nobody"] = None
        self.accounts.forget("nobody")
        await self.until(lambda: looker.end)
        await background.stop()


def failing(name: str) -> Account | None:
    raise OSError(5, "the name service is down")


class LostTests(TerminalsTestCase):
    reattach = 1.0

    async def test_when_nobody_comes_back_it_is_hung_up(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        await session.type("sleep 1000 & echo $((6*7))\n")
        await self.until(lambda: "42\r\n" in looker.text)
        members = session_members(session.pid)
        self.assertEqual(len(members), 2)
        session.detach(looker)
        await self.until(lambda: not any(map(alive, members)))
        await self.until(lambda: not self.terminals._sessions)
        self.assertEqual(self.notes.entries[-1][3]["reason"], "lost")
        with self.assertRaises(Unknown):
            await self.terminals.reattach(account(), session.id, SIZE, looker, self.notes)

    async def test_an_end_nobody_asks_for_is_forgotten(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        session.detach(looker)
        await session.type("exit\n")
        await self.until(lambda: not self.terminals._sessions)
        self.assertEqual(self.notes.entries[-1][3]["reason"], "exit")

    async def test_nothing_is_left_of_it_then(self) -> None:
        gc.collect()
        gc.disable()  # what waited for it would scatter over the heap
        self.addCleanup(gc.enable)
        looker = Looker()
        session = await self.open(looker)
        session.detach(looker)
        known = weakref.ref(session), weakref.ref(session._terminal)
        del session
        await self.until(lambda: not self.terminals._sessions and len(self.notes.entries) == 2)
        await self.until(iter([False, True]).__next__)
        self.assertEqual([each() for each in known], [None, None])

    async def test_who_comes_back_in_time_keeps_it(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        for _ in range(3):
            session.detach(looker)
            await deferLater(reactor, 0.4, lambda: None)
            session.attach(looker)
        await session.type("echo $((6*7))\n")
        await self.until(lambda: "42\r\n" in looker.text)


class IdleTests(TerminalsTestCase):
    idle = 2.0

    async def test_one_that_is_not_used_is_hung_up(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        await self.until(lambda: looker.end)
        assert looker.end is not None
        self.assertEqual((looker.end.reason, looker.end.signal), (Reason.IDLE, "SIGHUP"))
        self.assertFalse(alive(session.pid))

    async def test_one_that_prints_is_used(self) -> None:
        looker = Looker()
        session = await self.open(looker)
        await session.type("for i in 1 2 3; do sleep 0.9; echo $i; done; exit 6\n")
        await self.until(lambda: looker.end)
        assert looker.end is not None
        self.assertEqual(looker.end.code, 6)


def session_members(leader: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader):
            found.append(int(path.parent.name))
    return found


assert os.geteuid() == 0, "these tests start shells as another user"
