import contextlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from appliance.identity import helper_owner, passwords
from appliance.identity.helper_frames import MAX_PASSWORD, Outcome, Reply
from appliance.identity.helper_owner import HelperOwner, helper_command
from appliance.identity.login_backoff import LoginBackoff
from appliance.identity.passwords import (
    REFUSAL_SECONDS,
    SU_REFUSAL_SECONDS,
    PasswordChecker,
    TooManyChecks,
    Verdict,
)
from appliance.process.run import ProcessRunner
from appliance.secret import Secret
from tests.support.machine import Machine
from tests.support.password_helper import (
    ADDRESS,
    PASSWORD,
    SLOW_SERVICE,
    descendants,
    machine_with_users,
    service,
    without_login_service,
)
from tests.support.processes import alive, children, eventually

reactor: Any = global_reactor

REFUSED = Reply(0, Outcome.REFUSED, "wrong")
ACCEPTED = Reply(0, Outcome.ACCEPTED, "")
UNAVAILABLE = Reply(0, Outcome.UNAVAILABLE, "broken")


class HeldHelper:
    """Stands for the helper where only time and order matter: `checks` are answered when the test says so."""

    by_su = False
    enabled = True
    why_not = ""

    def __init__(self) -> None:
        self.checks: list[Deferred[Reply]] = []
        self.asked: list[tuple[str, str, str]] = []

    async def ask(self, name: str, password: str, address: str) -> Reply:
        self.asked.append((name, password, address))
        check: Deferred[Reply] = Deferred()
        self.checks.append(check)
        return await check


class QueueTests(SynchronousTestCase):
    """Queue, back-off and padding, with a clock that the test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.helper = HeldHelper()
        self.backoff = LoginBackoff(self.clock)
        self.checker = PasswordChecker(cast(Any, self.clock), cast(HelperOwner, self.helper), self.backoff)

    def begin(
        self, name: str = "ann", password: Secret | str = "secret", address: str = ADDRESS
    ) -> "Deferred[Verdict]":
        return Deferred.fromCoroutine(self.checker.check(name, password, address))

    def answer(self, number: int, reply: Reply) -> None:
        self.helper.checks[number].callback(reply)

    def test_acceptance_comes_at_once(self) -> None:
        check = self.begin(password=Secret("secret"))
        self.answer(0, ACCEPTED)
        self.assertIs(self.successResultOf(check), Verdict.ACCEPTED)
        self.assertEqual(self.helper.asked, [("ann", "secret", ADDRESS)])

    def refused_after(self, elapsed: float) -> float:
        """How long a refusal takes that is known after `elapsed` seconds."""
        began = self.clock.seconds()
        check = self.begin(address=f"10.0.{len(self.helper.checks)}.1")
        self.clock.advance(elapsed)
        self.answer(-1, REFUSED)
        self.clock.advance(0)
        while not check.called:
            self.clock.advance(0.125)
        self.assertIs(self.successResultOf(check), Verdict.REFUSED)
        return self.clock.seconds() - began

    def test_refusals_take_whole_multiples_of_one_time(self) -> None:
        for elapsed, told in ((0.0, 2), (0.125, 2), (1.875, 2), (2.0, 2), (2.125, 4), (4.0, 4), (30.5, 32)):
            self.assertEqual(self.refused_after(elapsed), told)
        self.assertEqual(REFUSAL_SECONDS, 2.0)

    def test_with_su_that_time_is_longer_than_its_own_delay(self) -> None:
        self.helper.by_su = True
        for elapsed in (0.0, 1.5, 3.125, 4.5):
            self.assertEqual(self.refused_after(elapsed), SU_REFUSAL_SECONDS)

    def test_every_other_outcome_is_a_refusal_or_no_verdict_and_padded(self) -> None:
        for outcome, verdict in (
            (Outcome.EXPIRED, Verdict.REFUSED),
            (Outcome.UNASKED, Verdict.REFUSED),
            (Outcome.UNAVAILABLE, Verdict.UNAVAILABLE),
        ):
            check = self.begin()
            self.answer(-1, Reply(0, outcome, "why"))
            self.clock.advance(1.9)
            self.assertNoResult(check)
            self.clock.advance(0.2)
            self.assertIs(self.successResultOf(check), verdict)

    def test_whoever_refuses_a_right_password_waits_as_long(self) -> None:
        began = self.clock.seconds()
        self.clock.advance(0.5)
        waiting = Deferred.fromCoroutine(self.checker.pad(began))
        self.clock.advance(1.25)
        self.assertNoResult(waiting)
        self.clock.advance(0.25)
        self.successResultOf(waiting)

    def test_what_cannot_be_right_is_refused_without_being_looked_at(self) -> None:
        impossible = [
            ("ann", ""),
            ("ann", "line\nbreak"),
            ("ann", "nul\0"),
            ("ann", "delete\x7f"),
            ("ann", "next line\x85"),
            ("ann", "x" * (MAX_PASSWORD + 1)),
            ("ann", "ü" * (MAX_PASSWORD // 2 + 1)),
            ("ann", "\ud800"),
            *((name, "secret") for name in ("", "--help", "-", "ann\n", "a b", "../ann", "x" * 33, "Ann", "ä", "a;b")),
        ]
        for number, (name, password) in enumerate(impossible):
            check = self.begin(name, password, f"10.0.0.{number}")
            self.clock.advance(REFUSAL_SECONDS - 0.1)
            self.assertNoResult(check)
            self.clock.advance(0.2)
            self.assertIs(self.successResultOf(check), Verdict.REFUSED, (name, password))
        self.assertEqual(self.helper.asked, [])

    def test_what_can_be_right_is_asked(self) -> None:
        possible = [
            ("machine$", "x"),
            ("a.b-c_d", " "),
            ("_x", "ü" * (MAX_PASSWORD // 2)),
            ("ann", "--help"),
            ("ann", "🔑"),
        ]
        for name, password in possible:
            check = self.begin(name, password)
            self.answer(-1, ACCEPTED)
            self.assertIs(self.successResultOf(check), Verdict.ACCEPTED)
        self.assertEqual([asked[:2] for asked in self.helper.asked], possible)

    def test_four_at_once_eight_in_a_queue_and_no_more(self) -> None:
        checks = [self.begin(address=f"10.0.0.{number}") for number in range(12)]
        self.assertEqual(len(self.helper.asked), 4)
        failure = self.failureResultOf(self.begin(), TooManyChecks)
        self.assertEqual(failure.value.retry_after, 1)
        self.answer(2, ACCEPTED)
        self.assertIs(self.successResultOf(checks[2]), Verdict.ACCEPTED)
        self.assertEqual([asked[2] for asked in self.helper.asked], [f"10.0.0.{number}" for number in range(5)])
        _ = self.begin()  # there is room again
        for number in range(12):
            if number != 2:
                self.answer(number, ACCEPTED)
        self.assertTrue(all(check.called for check in checks))

    def test_a_padded_refusal_holds_no_slot(self) -> None:
        for number in range(20):
            _ = self.begin(address=f"10.0.0.{number}")
            self.answer(-1, REFUSED)
        self.assertEqual(len(self.helper.asked), 20)

    def test_failures_count_before_the_refusal_is_told(self) -> None:
        for _ in range(5):
            _ = self.begin()
            self.answer(-1, REFUSED)
        failure = self.failureResultOf(self.begin(), TooManyChecks)
        self.assertEqual(failure.value.retry_after, 1)
        self.assertEqual(len(self.helper.asked), 5)

    def test_those_in_the_queue_are_not_checked_after_the_fifth_failure(self) -> None:
        checks = [self.begin() for _ in range(12)]
        for number in range(5):
            self.answer(number, REFUSED)
        # Four were at work when the fifth failure came: those started before it are all that are checked.
        self.assertEqual(len(self.helper.asked), 8)
        for number in range(5, 8):
            self.answer(number, REFUSED)
        self.assertEqual(len(self.helper.asked), 8)
        for check in checks[8:]:
            self.assertGreaterEqual(self.failureResultOf(check, TooManyChecks).value.retry_after, 1)
        check = self.begin(address="198.51.100.1")
        self.answer(-1, ACCEPTED)
        self.assertIs(self.successResultOf(check), Verdict.ACCEPTED)

    def test_impossible_names_and_passwords_count_as_failures(self) -> None:
        for name, password in (("", "x"), ("--help", "x"), ("a b", "x"), ("ann", ""), ("ann", "\n")):
            _ = self.begin(name, password)
        self.failureResultOf(self.begin(), TooManyChecks)

    def test_what_could_not_be_checked_does_not_count(self) -> None:
        for _ in range(20):
            _ = self.begin()
            self.answer(-1, UNAVAILABLE)
        self.assertEqual(self.backoff.retry_after("ann", ADDRESS), 0)

    def test_a_success_clears_the_pair(self) -> None:
        for reply in (REFUSED, REFUSED, ACCEPTED):
            _ = self.begin()
            self.answer(-1, reply)
        self.assertEqual(len(self.backoff._pairs), 0)
        self.assertEqual(len(self.backoff._addresses), 1)

    def test_one_who_does_not_wait_holds_the_slot_until_the_helper_is_done(self) -> None:
        checks = [self.begin(address=f"10.0.0.{number}") for number in range(5)]
        checks[0].cancel()
        self.failureResultOf(checks[0], CancelledError)
        self.assertEqual(len(self.helper.asked), 4)
        self.answer(0, REFUSED)
        self.assertEqual(len(self.helper.asked), 5)
        self.assertEqual(len(self.backoff._addresses), 1)  # and the failure counts


class HelperTestCase(TestCase):
    """The real helper with the real PAM of a private machine."""

    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.machine = cls.enterClassContext(machine_with_users(Path(folder)))

    def setUp(self) -> None:
        self.before = set(children())
        self.patch(passwords, "REFUSAL_SECONDS", 0.1)
        self.patch(passwords, "SU_REFUSAL_SECONDS", 0.1)
        self.events = self.enterContext(capturedLogs())
        self.runner = ProcessRunner(reactor)
        self.backoff = LoginBackoff(reactor)
        self.checker: PasswordChecker | None = None
        self.owner: HelperOwner | None = None

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.stop()
        await self.runner.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")
        self.assertNotIn(PASSWORD, self.said())
        self.flushLoggedErrors()

    async def stop(self) -> None:
        """As the server does it at its end."""
        if self.owner is not None and self.checker is not None:
            await self.owner.stop()
            await self.checker.stop()

    def said(self, level: LogLevel | None = None) -> str:
        """What was logged, with all that the events hold."""
        events = [event for event in self.events if level is None or event["log_level"] == level]
        return "\n".join(f"{formatEvent(event)} {event}" for event in events)

    async def start(self, *prefix: str, limit: float = 30, command: list[str] | None = None) -> PasswordChecker:
        command = command or [*self.machine.prefix, *prefix, *helper_command(limit)]
        self.owner = HelperOwner(reactor, self.runner, command)
        self.checker = PasswordChecker(reactor, self.owner, self.backoff)
        self.owner.start()
        return self.checker

    def begin(self, name: str, password: str = PASSWORD, address: str = ADDRESS) -> "Deferred[Verdict]":
        assert self.checker is not None
        return Deferred.fromCoroutine(self.checker.check(name, password, address))

    async def check(self, name: str, password: str = PASSWORD, address: str = ADDRESS) -> Verdict:
        return await self.begin(name, password, address)

    async def helper(self) -> int:
        """The pid of a helper that may be asked."""
        assert self.checker is not None
        checker = self.checker
        await eventually(lambda: checker.enabled, "the helper")
        (pid,) = set(children()) - self.before
        return pid

    def use(self, text: str) -> None:
        """Have the PAM service `appliance` until the end of the test."""
        manager = service(self.machine, text)
        manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)


class CheckTests(HelperTestCase):
    async def test_verdicts(self) -> None:
        await self.start()
        expected = {
            ("ann", PASSWORD): Verdict.ACCEPTED,
            ("no.shell", PASSWORD): Verdict.ACCEPTED,
            ("ann", "wrong"): Verdict.REFUSED,
            ("nobody-here", PASSWORD): Verdict.REFUSED,
            ("locked", PASSWORD): Verdict.REFUSED,
            ("expired", PASSWORD): Verdict.REFUSED,
            ("must-change", PASSWORD): Verdict.REFUSED,
            ("inactive", PASSWORD): Verdict.REFUSED,
            ("passwordless", PASSWORD): Verdict.REFUSED,
            ("passwordless", ""): Verdict.REFUSED,
            ("ann", ""): Verdict.REFUSED,
            ("ann", PASSWORD + "\n"): Verdict.REFUSED,
            ("--help", PASSWORD): Verdict.REFUSED,
        }
        asked = [self.begin(*each, f"10.0.0.{number}") for number, each in enumerate(list(expected)[:12])]
        verdicts = [*await gatherResults(asked), await self.check("--help", PASSWORD)]
        self.assertEqual(dict(zip(expected, verdicts, strict=True)), expected)
        said = self.said(LogLevel.info)
        self.assertIn("Log-in of 'must-change' from 10.0.0.6 refused: pam_acct_mgmt", said)
        self.assertIn("Log-in of 'nobody-here' from 10.0.0.3 refused", said)
        self.assertNotIn("--help", said)

    async def test_the_same_time_for_every_refusal(self) -> None:
        self.patch(passwords, "REFUSAL_SECONDS", 1.0)
        await self.start()
        await self.helper()
        took = {}
        for number, (name, password) in enumerate(
            [("ann", "wrong"), ("nobody-here", "x"), ("ann", ""), ("locked", PASSWORD), ("expired", PASSWORD)]
        ):
            began = reactor.seconds()

            def note(verdict: Verdict, name: str = name, password: str = password, began: float = began) -> None:
                took[name, password] = reactor.seconds() - began

            _ = self.begin(name, password, f"10.0.1.{number}").addCallback(note)
        await eventually(lambda: len(took) == 5, "the refusals")
        for elapsed in took.values():
            self.assertGreaterEqual(elapsed, 1.0)

    async def test_checks_wait_for_the_first_helper(self) -> None:
        checker = await self.start()
        self.assertFalse(checker.enabled)
        self.assertTrue(checker.why_not)
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)
        self.assertTrue(checker.enabled)
        self.assertEqual(checker.why_not, "")

    async def test_twenty_wrong_at_once(self) -> None:
        await self.start()
        await self.helper()
        checks = [self.begin("ann", f"wrong{number}") for number in range(20)]
        results = await DeferredList(checks, consumeErrors=True)
        refused = [value for succeeded, value in results if succeeded]
        sent_away = [value.value for succeeded, value in results if not succeeded]
        self.assertEqual(set(refused), {Verdict.REFUSED})
        self.assertGreaterEqual(len(refused), 5)
        self.assertLessEqual(len(refused), 8)
        self.assertEqual({type(error) for error in sent_away}, {TooManyChecks})
        self.assertIs(await self.check("ann", address="198.51.100.1"), Verdict.ACCEPTED)  # the user is not locked out

    async def test_stopping_with_checks_at_work_and_waiting(self) -> None:
        self.use(SLOW_SERVICE)
        checker = await self.start()
        pid = await self.helper()
        checks = [self.begin("slow", address=f"10.0.2.{number}") for number in range(10)]
        await eventually(lambda: len(descendants(pid)) >= 8, "four checks")
        everybody = descendants(pid)
        await self.stop()
        self.assertEqual(set(await gatherResults(checks)), {Verdict.UNAVAILABLE})
        self.assertFalse(any(map(alive, [pid, *everybody])))
        self.assertFalse(checker.enabled)
        self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)

    async def test_stopping_what_never_started(self) -> None:
        self.owner = HelperOwner(reactor, self.runner)
        self.checker = PasswordChecker(reactor, self.owner, self.backoff)
        await self.stop()

    async def test_su(self) -> None:
        with without_login_service(self.machine):
            await self.start()
            await self.helper()
            checks = [self.begin("ann"), self.begin("ann", "wrong"), self.begin("nobody-here"), self.begin("no.shell")]
            self.assertEqual(await gatherResults(checks), [Verdict.ACCEPTED] + 3 * [Verdict.REFUSED])
            self.assertIn("Passwords are checked by /usr/bin/su", self.said(LogLevel.info))


class TroubleTests(HelperTestCase):
    async def test_a_helper_that_is_killed_during_a_check(self) -> None:
        self.use(SLOW_SERVICE)
        checker = await self.start()
        pid = await self.helper()
        check = self.begin("slow")
        await eventually(lambda: len(descendants(pid)) == 2, "the check")
        check_process, started = descendants(pid)
        self.addCleanup(_end, started)  # what a module started has no owner once the helper is gone
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not checker.enabled, "the news")
        await eventually(lambda: not alive(check_process), "the end of the check")
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)  # by the next helper
        self.assertIs(await check, Verdict.UNAVAILABLE)
        self.assertNotEqual(await self.helper(), pid)
        self.assertIn("it ended (signal 9)", self.said(LogLevel.error))

    async def test_those_in_the_queue_are_checked_by_the_next_helper(self) -> None:
        self.use(SLOW_SERVICE)
        await self.start()
        pid = await self.helper()
        slow = [self.begin("slow", address=f"10.0.3.{number}") for number in range(4)]
        queued = [self.begin("ann", address=f"10.0.4.{number}") for number in range(3)]
        await eventually(lambda: len(descendants(pid)) == 8, "four checks")
        for started in descendants(pid):
            self.addCleanup(_end, started)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(await gatherResults(queued), [Verdict.ACCEPTED] * 3)
        self.assertEqual(await gatherResults(slow), [Verdict.UNAVAILABLE] * 4)

    async def test_a_module_that_hangs(self) -> None:
        self.use(SLOW_SERVICE)
        await self.start(limit=0.5)
        pid = await self.helper()
        self.assertIs(await self.check("slow"), Verdict.UNAVAILABLE)
        await eventually(lambda: not descendants(pid), "the end of all it started")
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)
        self.assertEqual(await self.helper(), pid)

    async def test_a_helper_that_does_not_answer_is_replaced(self) -> None:
        self.patch(helper_owner, "CHECK_LIMIT", 0.2)
        self.patch(helper_owner, "_MARGIN", 0.3)
        await self.start()
        pid = await self.helper()
        os.kill(pid, signal.SIGSTOP)
        check = self.begin("ann")
        self.assertIs(await check, Verdict.UNAVAILABLE)
        os.kill(pid, signal.SIGCONT)  # for its end in good order
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)
        self.assertNotEqual(await self.helper(), pid)

    async def permissive(self, text: str, named: str = "/etc/pam.d/appliance") -> None:
        self.use(text)
        checker = await self.start()
        self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)
        self.assertFalse(checker.enabled)
        self.assertIn("may accept any", checker.why_not)
        self.assertIn(named, checker.why_not)
        self.assertIn(checker.why_not, self.said(LogLevel.critical))
        await eventually(lambda: set(children()) <= self.before, "the end of the helper")

    async def test_a_service_that_does_not_ask(self) -> None:
        await self.permissive(
            "auth sufficient pam_permit.so\nauth required pam_unix.so\naccount required pam_permit.so\n"
        )

    async def test_a_service_that_asks_and_accepts_anything(self) -> None:
        await self.permissive(
            "auth optional pam_unix.so\nauth required pam_permit.so\naccount required pam_permit.so\n"
        )

    async def test_a_service_that_accepts_anything_though_the_account_has_expired(self) -> None:
        self.machine.run("chage", "-d", "0", "root")
        self.addCleanup(self.machine.run, "chage", "-d", "2020-01-01", "root")
        await self.permissive("auth optional pam_unix.so\nauth required pam_permit.so\naccount required pam_unix.so\n")

    async def test_su_that_accepts_anything(self) -> None:
        self.machine.run("cp", "/etc/pam.d/su", "/etc/pam.d/su.kept")
        self.addCleanup(self.machine.run, "mv", "/etc/pam.d/su.kept", "/etc/pam.d/su")
        permit = "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
        self.machine.run("tee", "/etc/pam.d/su", stdin=permit)
        with without_login_service(self.machine):
            checker = await self.start()
            self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)
            self.assertIn("/etc/pam.d/su ", checker.why_not)

    async def test_a_service_that_is_mended_is_used_without_a_restart(self) -> None:
        self.patch(helper_owner, "READY_LIMIT", 0.3)
        with service(self.machine, "auth required pam_no_such_module.so\naccount required pam_unix.so\n"):
            checker = await self.start()
            self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)
            await eventually(lambda: "appliance" in checker.why_not, "the reason")
        await self.helper()
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)

    async def test_one_who_waits_gets_the_next_helper_where_the_first_fails(self) -> None:
        marker = Path(self.mktemp()).absolute()
        marker.parent.mkdir(parents=True, exist_ok=True)
        script = f'test -e {marker} && exec "$@"; touch {marker}; exit 1'
        await self.start(command=["/bin/sh", "-c", script, "sh", *self.machine.prefix, *helper_command()])
        self.assertIs(await self.check("ann"), Verdict.ACCEPTED)

    async def test_what_is_no_helper(self) -> None:
        self.patch(helper_owner, "READY_LIMIT", 0.3)
        for command in (["/bin/echo", "GET / HTTP/1.1 and so on"], ["/bin/false"], ["/no/such/program"]):
            checker = await self.start(command=command)
            self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)
            self.assertFalse(checker.enabled)
            await self.stop()

    async def test_a_helper_that_says_nothing_is_ended(self) -> None:
        self.patch(helper_owner, "START_LIMIT", 0.2)
        self.patch(helper_owner, "READY_LIMIT", 0.6)
        checker = await self.start(command=["/bin/sleep", "600"])
        self.assertIs(await self.check("ann"), Verdict.UNAVAILABLE)
        self.assertIn("did not start in time", self.said(LogLevel.error))
        self.assertFalse(checker.enabled)

    async def test_it_is_started_again_less_and_less_often(self) -> None:
        self.patch(helper_owner, "FIRST_PAUSE", 0.01)
        self.patch(helper_owner, "LONGEST_PAUSE", 0.04)
        await self.start(command=["/bin/false"])
        await eventually(lambda: len(self.pauses()) >= 5, "five attempts")
        self.assertEqual(self.pauses()[:5], [0.01, 0.02, 0.04, 0.04, 0.04])

    def pauses(self) -> list[float]:
        return [event["pause"] for event in self.events if "pause" in event]


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
