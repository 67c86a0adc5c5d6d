"""What becomes of a change when the tools do not do as they are told, with tools that are told how to fail."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host.errors import Conflict, Invalid, Unavailable, Unknown
from appliance.host.users.changes import NewUser, UserChange, Users
from appliance.host.users.listing import FRESH_SECONDS, UserListing
from appliance.process.errors import ProcessError
from appliance.process.run import Finished
from appliance.secret import Secret
from appliance.threads import Threads
from tests.support.processes import eventually

reactor: Any = global_reactor

PASSWD = "root:x:0:0:root:/root:/bin/sh\nadmin:x:1000:1000::/home/admin:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\n"
GROUP = "root:x:0:\nadmin:x:1000:\nann:x:1001:\nsudo:x:27:admin\naudio:x:29:\n"
SHADOW = "root:*:19000:0:99999:7:::\nadmin:$y$j9T$a$b:19000:0:99999:7:::\nann:$y$j9T$a$b:19000:0:99999:7:::\n"


def ended(exit_code: int = 0, stdout: str = "", stderr: str = "", **more: Any) -> Finished:
    fields = {"signal": None, "timed_out": False, "truncated": False, **more}
    return Finished(exit_code=exit_code, stdout=stdout.encode(), stderr=stderr.encode(), **fields)


class Tools:
    """Answers for each program as it was told to, else that it has succeeded; remembers what was run."""

    def __init__(self, etc: Path) -> None:
        self._etc = etc
        self.answers: dict[str, Callable[[], Finished]] = {}
        self.run_so_far: list[list[str]] = []
        self.held: list[Deferred[None]] = []
        self.hold = False

    async def run(self, argv: Sequence[str], **options: Any) -> Finished:
        self.run_so_far.append(list(argv))
        if self.hold:
            self.held.append(Deferred())
            await self.held[-1]
        if argv[0] == "getent":
            return self.answers["getent"]() if "getent" in self.answers else ended(0, (self._etc / argv[1]).read_text())
        if argv == ["useradd", "-D"]:
            return ended(0, "GROUP=100\nHOME=/home\n")
        return self.answers[argv[0]]() if argv[0] in self.answers else ended()

    def of(self, program: str) -> list[list[str]]:
        return [argv for argv in self.run_so_far if argv[0] == program]


class ChangesTestCase(TestCase):
    def setUp(self) -> None:
        self.etc = Path(self.mktemp())
        self.etc.mkdir(parents=True)
        for name, content in (
            ("passwd", PASSWD),
            ("group", GROUP),
            ("shadow", SHADOW),
            ("shells", "/bin/sh\n/bin/bash\n"),
        ):
            (self.etc / name).write_text(content)
        self.clock = Clock()
        self.tools = Tools(self.etc)
        self.told: list[tuple[str, bool]] = []
        self.deaf = False
        threads = Threads(reactor)
        self.listing = UserListing(self.clock, self.tools, threads, self.etc)  # type: ignore[arg-type]
        self.users = Users(
            self.clock,
            self.tools,  # type: ignore[arg-type]
            threads,
            self.listing,
            admin_groups=frozenset({"sudo"}),
            changed=self.changed,
            etc=self.etc,
        )

    async def changed(self, name: str, revoke: bool) -> None:
        if self.deaf:
            raise Unavailable("nobody listens")
        self.told.append((name, revoke))

    def add(self, file: str, line: str) -> None:
        path = self.etc / file
        path.write_text(path.read_text() + line + "\n")

    def made(self) -> Finished:
        """What useradd does."""
        self.add("passwd", "new:x:1002:1002::/home/new:/bin/sh")
        self.add("shadow", "new:!:19000:0:99999:7:::")
        return ended()

    async def refused(self, kind: type[Exception], work: Any) -> str:
        error = await self.assertFailure(Deferred.fromCoroutine(work), kind)
        return str(error)

    def create(self, name: str = "new") -> Any:
        return self.users.create(NewUser(username=name, password=Secret("secret")))

    def change(self, name: str = "ann", caller: str = "admin", **fields: Any) -> Any:
        return self.users.change(name, UserChange(**fields), caller=caller)


class CreateTests(ChangesTestCase):
    async def test_made(self) -> None:
        self.tools.answers["useradd"] = self.made
        user, existed = await self.create()
        self.assertEqual((user.username, user.uid, existed), ("new", "1002", False))
        self.assertEqual(self.told, [("new", True)])
        self.assertEqual(self.tools.of("useradd")[1:], [["useradd", "-m", "-d", "/home/new", "--", "new"]])

    async def test_a_user_without_a_password_is_taken_back(self) -> None:
        self.tools.answers["useradd"] = self.made
        for answer in (ended(1, stderr="pam: BAD PASSWORD"), ended(1), ended(0, timed_out=True)):
            self.tools.run_so_far.clear()
            self.tools.answers["chpasswd"] = lambda answer=answer: answer  # type: ignore[misc]
            kind = Invalid if answer.stderr else Unavailable
            await self.refused(kind, self.create())
            self.assertEqual(self.tools.of("userdel"), [["userdel", "-r", "--", "new"]])
            self.setUp()
            self.tools.answers["useradd"] = self.made
        self.assertEqual(self.told, [])

    async def test_a_home_that_was_there_is_left_when_the_user_is_taken_back(self) -> None:
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        self.tools.answers["useradd"] = self.made
        self.tools.answers["chpasswd"] = lambda: ended(1)
        new = NewUser(username="new", password=Secret("secret"), home=str(home))
        await self.refused(Unavailable, self.users.create(new))
        self.assertEqual(self.tools.of("userdel"), [["userdel", "--", "new"]])

    async def test_a_user_of_whom_nobody_can_be_told_is_taken_back(self) -> None:
        self.tools.answers["useradd"] = self.made
        self.deaf = True
        self.assertEqual(await self.refused(Unavailable, self.create()), "nobody listens")
        self.assertEqual(self.tools.of("userdel"), [["userdel", "-r", "--", "new"]])

    async def test_somebody_else_was_quicker(self) -> None:
        def quicker() -> Finished:
            self.made()
            return ended(9)

        self.tools.answers["useradd"] = quicker
        await self.refused(Conflict, self.create())
        self.assertEqual(self.tools.of("userdel"), [])

    async def test_what_useradd_says(self) -> None:
        for code, kind in (
            (3, Invalid),
            (4, Conflict),
            (6, Invalid),
            (12, Unavailable),
            (1, Unavailable),
            (99, Unavailable),
        ):
            self.tools.answers["useradd"] = lambda code=code: ended(code, stderr="raw words")  # type: ignore[misc]
            self.assertNotIn("raw", await self.refused(kind, self.create()))

    async def test_what_cannot_be_taken_back_is_logged(self) -> None:
        self.tools.answers["useradd"] = self.made
        self.tools.answers["chpasswd"] = lambda: ended(1)
        self.tools.answers["userdel"] = lambda: ended(10)
        await self.refused(Unavailable, self.create())
        self.assertEqual(self.told, [])

    async def test_useradd_does_not_tell_where_homes_are(self) -> None:
        async def run(argv: Sequence[str], **options: Any) -> Finished:
            return ended(1)

        self.patch(self.tools, "run", run)
        await self.refused(Unavailable, self.create())


class ChangeTests(ChangesTestCase):
    async def test_nothing_to_change(self) -> None:
        await self.refused(Invalid, self.change())
        await self.refused(Invalid, self.change(locked=True, password=Secret("x")))
        await self.change(groups="", shell="/bin/sh", locked=False)
        self.assertEqual(self.tools.of("usermod"), [])
        await self.refused(Unknown, self.change("nobody", groups=""))

    async def test_usermod_does_nothing(self) -> None:
        await self.refused(Unavailable, self.change(shell="/bin/bash"))
        self.assertEqual(self.tools.of("usermod"), [["usermod", "-s", "/bin/bash", "--", "ann"]] * 3)
        self.assertEqual(self.told, [])

    async def test_a_password_that_is_refused_undoes_what_came_before_it(self) -> None:
        def moved() -> Finished:
            path = self.etc / "passwd"
            old, new = "/home/ann:/bin/sh", "/home/ann:/bin/bash"
            text = path.read_text()
            path.write_text(text.replace(new, old) if new in text else text.replace(old, new))
            return ended()

        self.tools.answers["usermod"] = moved
        self.tools.answers["chpasswd"] = lambda: ended(1)
        await self.refused(Unavailable, self.change(shell="/bin/bash", password=Secret("x")))
        self.assertEqual([argv[2] for argv in self.tools.of("usermod")], ["/bin/bash", "/bin/sh"])
        self.assertEqual((self.etc / "passwd").read_text(), PASSWD)

    async def test_usermod_fails_half_way(self) -> None:
        """It may have changed one file of two; what cannot be undone is logged."""
        calls: list[None] = []

        def half() -> Finished:
            calls.append(None)
            if len(calls) > 1:
                raise ProcessError("cannot start usermod")
            (self.etc / "group").write_text(GROUP.replace("audio:x:29:", "audio:x:29:ann"))
            return ended(10)

        self.tools.answers["usermod"] = half
        await self.refused(Unavailable, self.change(groups="audio", shell="/bin/bash"))
        self.assertEqual(self.tools.of("usermod")[1], ["usermod", "-G", "", "--", "ann"])

    async def test_what_usermod_says(self) -> None:
        for code, kind in ((6, Unknown), (1, Unavailable), (10, Unavailable), (8, Unavailable)):
            self.tools.answers["usermod"] = lambda code=code: ended(code)  # type: ignore[misc]
            await self.refused(kind, self.change(groups="audio"))

    async def test_who_is_told(self) -> None:
        def grouped() -> Finished:
            (self.etc / "group").write_text(GROUP.replace("audio:x:29:", "audio:x:29:ann"))
            return ended()

        self.tools.answers["usermod"] = grouped
        await self.change(groups="audio")
        await self.change(password=Secret("x"))
        self.assertEqual(self.told, [("ann", False), ("ann", True)])

    async def test_a_user_that_is_kept_elsewhere(self) -> None:
        self.tools.answers["getent"] = lambda: ended(0, PASSWD + "ldap:x:5000:5000::/home/ldap:/bin/sh\n")
        for work in (
            self.change("ldap", groups=""),
            self.users.delete("ldap", caller="admin"),
            self.users.reset_password("ldap", Secret("x")),
        ):
            self.assertIn("not an account of this machine", await self.refused(Conflict, work))
        self.assertEqual(self.tools.of("usermod") + self.tools.of("userdel") + self.tools.of("chpasswd"), [])


class DeleteTests(ChangesTestCase):
    async def test_what_userdel_says(self) -> None:
        for code, kind in ((6, Unknown), (8, Conflict), (1, Unavailable), (10, Unavailable)):
            self.tools.answers["userdel"] = lambda code=code: ended(code)  # type: ignore[misc]
            await self.refused(kind, self.users.delete("ann", caller="admin"))
        self.assertEqual(self.told, [])

    async def test_a_home_that_is_not_removed(self) -> None:
        self.assertTrue(await self.users.delete("ann", caller="admin", with_home=True))
        self.tools.answers["userdel"] = lambda: ended(12)
        self.assertFalse(await self.users.delete("ann", caller="admin", with_home=True))
        self.assertEqual(self.told, [("ann", True)] * 2)

    async def test_nobody_can_be_told(self) -> None:
        self.deaf = True
        for work, done in (
            (self.users.delete("ann", caller="admin"), "deleted"),
            (self.users.reset_password("ann", Secret("x")), "changed"),
        ):
            self.assertEqual(await self.refused(Unavailable, work), f"User ann is {done}, but nobody listens")
        self.assertEqual(self.tools.of("usermod"), [])


class TurnTests(ChangesTestCase):
    async def test_one_at_a_time_and_not_for_ever(self) -> None:
        self.tools.hold = True
        first = Deferred.fromCoroutine(self.users.delete("ann", caller="admin"))
        await eventually(lambda: self.tools.held, "the first to begin")
        waiting = [Deferred.fromCoroutine(self.users.delete("ann", caller="admin")) for _ in range(16)]
        await self.refused(Unavailable, self.users.delete("ann", caller="admin"))
        self.clock.advance(31)
        for each in waiting:
            await self.assertFailure(each, Unavailable)
        self.assertEqual(len(self.tools.of("userdel")), 1)
        self.tools.hold = False
        self.tools.held[0].callback(None)
        await first
        await self.users.delete("ann", caller="admin")


class ListingTests(ChangesTestCase):
    def asked(self) -> int:
        return len(self.tools.of("getent"))

    async def test_it_is_kept_until_a_file_changes(self) -> None:
        first = await self.listing.users()
        self.assertIs(await self.listing.users(), first)
        self.assertEqual(self.asked(), 2)
        self.add("passwd", "new:x:1002:1002::/home/new:/bin/sh")
        self.assertIn("new", [user.username for user in await self.listing.users()])
        self.assertEqual(self.asked(), 4)
        (self.etc / "nsswitch.conf").write_text("passwd: files ldap\n")
        await self.listing.users()
        self.assertEqual(self.asked(), 6)

    async def test_it_is_not_kept_for_ever(self) -> None:
        first = await self.listing.users()
        self.clock.advance(FRESH_SECONDS)
        self.assertIs(await self.listing.users(), first)  # nothing has changed
        self.assertEqual(self.asked(), 4)
        self.listing.forget()
        await self.listing.users()
        self.assertEqual(self.asked(), 6)

    async def test_many_who_ask_at_once_share_one_look(self) -> None:
        self.tools.hold = True
        asking = [Deferred.fromCoroutine(self.listing.users()) for _ in range(10)]
        await eventually(lambda: self.tools.held, "the look")
        self.tools.hold = False
        self.tools.held[0].callback(None)
        found = [await each for each in asking]
        self.assertEqual(self.asked(), 2)
        self.assertTrue(all(each is found[0] for each in found))

    async def test_the_name_service_fails(self) -> None:
        for answer in (ended(1), ended(0, timed_out=True), ended(0, truncated=True)):
            self.tools.answers["getent"] = lambda answer=answer: answer  # type: ignore[misc]
            await self.refused(Unavailable, self.listing.users())
        self.tools.answers["getent"] = lambda: ended(2)
        self.assertEqual(await self.listing.users(), ())

    async def test_the_files_cannot_be_read(self) -> None:
        (self.etc / "group").unlink()
        (self.etc / "group").mkdir()
        self.tools.answers["getent"] = lambda: ended(0, "")
        await self.refused(Unavailable, self.listing.users())
