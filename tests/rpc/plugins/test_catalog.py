"""Which plugins there are: found, changed, removed, refused."""

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from appliance.host import ownership
from appliance.rpc.plugins import catalog as catalog_module
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.threads import Threads
from tests.support.plugins import PluginsTestCase, reactor, shell, write
from tests.support.processes import eventually

LISTING = '#!/bin/sh\n[ "$1" = list ] && {listing} || echo done\n'


def listing(command: str) -> str:
    return LISTING.format(listing=command)


class ListTests(PluginsTestCase):
    async def test_objects(self) -> None:
        self.add(
            "b", listing("""echo '{"say": {"message": "value", "n": 32, "f": true, "o": {}, "l": []}, "q": {}}'""")
        )
        self.add("a", shell("true"))
        plugins = await self.start()
        self.assertEqual(list(plugins.objects()), ["a", "b"])
        self.assertEqual(
            plugins.objects()["b"],
            {"say": {"message": "value", "n": 32, "f": True, "o": {}, "l": []}, "q": {}},
        )

    async def test_what_is_no_plugin(self) -> None:
        self.add("plain", shell("true")).chmod(0o644)
        (self.folder / "folder").mkdir()
        os.mkfifo(self.folder / "pipe")
        (self.folder / "dangling").symlink_to("nowhere")
        for name in (".hidden", "backup~", "a b", "new.dpkg-new", "old.rpmsave", "-x"):
            self.add(name, shell("true"))
        self.add("real", shell("true"))
        plugins = await self.start()
        self.assertEqual(list(plugins.objects()), ["real"])
        for name in os.listdir(self.folder):
            self.assertEqual((await self.call(name)).kind, "exited" if name == "real" else "no_object", name)

    async def test_a_list_that_is_none(self) -> None:
        commands = {
            "fails": "exit 2",
            "dies": "kill -9 $$",
            "silent": "true",
            "partial": """echo '{"run": {'""",
            "array": "echo '[]'",
            "nan": """echo '{"run": {"a": NaN}}'""",
            "control": r"""echo '{"a\\u0000b": {}}'""",
            "nameless": """echo '{"": {}}'""",
            "long": "head -c 2000000 /dev/zero",
            "hangs": "sleep 600",
        }
        for name, command in commands.items():
            self.add(name, listing(command))
        self.add("odd", listing("""echo '{"run": {}, "no": 5}'"""))
        plugins = await self.start(list_timeout=1)
        self.assertEqual(plugins.objects(), {"odd": {"run": {}}})
        for name in commands:
            self.assertEqual((await self.call(name)).kind, "no_object", name)

    async def test_one_that_hangs_holds_up_nobody(self) -> None:
        self.add("hangs", listing("sleep 600"))
        self.add("works", shell("echo 1"))
        plugins = Plugins(reactor, Threads(reactor), PluginOptions((self.folder,), list_timeout=5))
        self.plugins = plugins
        starting = Deferred.fromCoroutine(plugins.start())
        await eventually(lambda: "works" in plugins.objects(), "the one that works")
        self.assertEqual((await self.call("works")).output, b"1\n")
        await plugins.stop()
        await starting

    async def test_a_failed_list_is_asked_for_again(self) -> None:
        self.patch(catalog_module, "RETRY", 1000)
        ready = self.folder.parent / f"{self.folder.name}-ready"
        self.add("late", listing(f"""[ -e {ready} ] && echo '{{"run": {{}}}}'"""))
        await self.start()
        await deferLater(reactor, 0.15)  # from now on its file counts as settled
        self.assertEqual((await self.call("late")).kind, "no_object")
        ready.touch()
        self.assertEqual((await self.call("late")).kind, "no_object")
        self.patch(catalog_module, "RETRY", 0)
        self.assertEqual((await self.call("late")).kind, "exited")

    async def test_many_that_ask_at_once_have_it_listed_once(self) -> None:
        await self.start()
        asked = self.folder.parent / f"{self.folder.name}-asked"
        self.add("one", listing(f"""echo x >> {asked} && sleep 0.2 && echo '{{"run": {{}}}}'"""))
        outcomes = await gatherResults([self.begin("one") for _ in range(10)])
        self.assertEqual({outcome.output for outcome in outcomes}, {b"done\n"})
        self.assertEqual(asked.read_text(), "x\n")


class ChangeTests(PluginsTestCase):
    async def test_a_new_one_works_at_the_very_next_call(self) -> None:
        await self.start()
        for number in range(20):
            self.add(f"new{number}", shell(f"echo {number}"))
            self.assertEqual((await self.call(f"new{number}")).output, f"{number}\n".encode())

    async def test_one_that_is_made_executable_later(self) -> None:
        path = self.add("one", shell("echo 1"))
        path.chmod(0o644)
        await self.start()
        self.assertEqual((await self.call("one")).kind, "no_object")
        path.chmod(0o755)
        self.assertEqual((await self.call("one")).output, b"1\n")

    async def test_changes_in_place_however_quick(self) -> None:
        path = self.add("one", shell("echo 0"))
        await self.start()
        for number in range(1, 9):
            path.write_text(listing(f"""echo '{{"run{number}": {{}}}}'"""))
            self.assertEqual((await self.call("one", method=f"run{number}")).output, b"done\n")
            self.assertEqual((await self.call("one", method=f"run{number - 1}")).kind, "no_method")

    async def test_a_removed_one_is_gone_at_the_very_next_call(self) -> None:
        path = self.add("one", shell("echo 1"))
        plugins = await self.start()
        self.assertEqual((await self.call("one")).kind, "exited")
        path.unlink()
        self.assertEqual((await self.call("one")).kind, "no_object")
        self.assertEqual(plugins.objects(), {})

    async def test_the_list_follows_by_itself(self) -> None:
        plugins = await self.start()
        self.add("one", shell("echo 1"))
        await eventually(lambda: list(plugins.objects()) == ["one"], "the new one")
        (self.folder / "one").write_text(listing("""echo '{"other": {}}'"""))
        await eventually(lambda: list(plugins.objects().get("one", {})) == ["other"], "its change")
        (self.folder / "one").chmod(0o600)
        await eventually(lambda: not plugins.objects(), "its end")
        (self.folder / "one").chmod(0o700)
        await eventually(lambda: list(plugins.objects()) == ["one"], "its return")
        (self.folder / "one").rename(self.folder / "two")
        await eventually(lambda: list(plugins.objects()) == ["two"], "its new name")

    async def test_directories_that_come_and_go(self) -> None:
        folder = self.folder / "not" / "yet"
        self.plugins = plugins = Plugins(reactor, Threads(reactor), PluginOptions((folder,)))
        await plugins.start()
        self.assertEqual((await self.call("one")).kind, "no_object")
        for _ in range(2):
            folder.mkdir(parents=True)
            write(folder / "one", shell("echo 1"))
            await eventually(lambda: list(plugins.objects()) == ["one"], "the new directory")
            self.assertEqual((await self.call("one")).output, b"1\n")
            folder.parent.rename(self.folder / "away")
            self.assertEqual((await self.call("one")).kind, "no_object")
            (self.folder / "away" / "yet" / "one").unlink()
            (self.folder / "away" / "yet").rmdir()
            (self.folder / "away").rmdir()
            await eventually(lambda: not plugins.objects(), "the end of the directory")

    async def test_the_first_of_two_directories_counts(self) -> None:
        first, second = self.folder / "first", self.folder / "second"
        for folder in (first, second):
            folder.mkdir()
            write(folder / "one", shell(f"echo {folder.name}"))
        write(second / "two", shell("echo two"))
        self.plugins = Plugins(reactor, Threads(reactor), PluginOptions((first, self.folder / "none", second)))
        await self.plugins.start()
        self.assertEqual((await self.call("one")).output, b"first\n")
        self.assertEqual((await self.call("two")).output, b"two\n")
        (first / "one").unlink()
        self.assertEqual((await self.call("one")).output, b"second\n")
        write(first / "two", shell("echo first"))
        self.assertEqual((await self.call("two")).output, b"first\n")
        (first / "two").chmod(0o600)
        self.assertEqual((await self.call("two")).output, b"two\n")

    async def test_reload_asks_all_again(self) -> None:
        answer = self.folder.parent / f"{self.folder.name}-answer"
        answer.write_text('{"old": {}}')
        self.add("one", listing(f"cat {answer}"))
        plugins = await self.start()
        await deferLater(reactor, 0.15)
        await plugins.refresh()
        answer.write_text('{"new": {}}')
        await plugins.refresh()
        self.assertEqual(plugins.objects(), {"one": {"old": {}}})
        await plugins.reload()
        self.assertEqual(plugins.objects(), {"one": {"new": {}}})
        answer.write_text("nonsense")
        await plugins.reload()
        self.assertEqual(plugins.objects(), {"one": {"new": {}}})  # the file is the same


class DangerTests(PluginsTestCase):
    """As root: what somebody else could change is not run."""

    async def test_owners_and_modes(self) -> None:
        cases: dict[str, tuple[Any, bool]] = {
            "file of another user": (lambda path: os.chown(path, 12345, 0), False),
            "file that all may write": (lambda path: path.chmod(0o757), False),
            "file that a group may write": (lambda path: open_to_group(path, 0o775), False),
            "file that group root may write": (lambda path: path.chmod(0o775), True),
            "directory of another user": (lambda path: os.chown(path.parent, 12345, 0), False),
            "directory that all may write": (lambda path: path.parent.chmod(0o777), False),
            "directory that a group may write": (
                lambda path: open_to_group(path.parent, 0o770),
                False,
            ),
            "sticky directory, as /tmp": (lambda path: path.parent.chmod(0o1777), True),
            "directory above": (lambda path: path.parent.parent.chmod(0o777), False),
        }
        self.assertEqual(os.geteuid(), 0)
        for number, (what, (spoil, allowed)) in enumerate(cases.items()):
            folder = self.folder / str(number) / "plugins"
            folder.mkdir(parents=True)
            spoil(write(folder / "one", shell(f"touch {self.folder}/run; echo 1")))
            plugins = Plugins(reactor, Threads(reactor), PluginOptions((folder,)))
            self.plugins = plugins
            await plugins.start()
            self.assertEqual((await self.call("one")).kind, "exited" if allowed else "no_object", what)
            self.assertEqual((self.folder / "run").exists(), allowed, what)
            (self.folder / "run").unlink(missing_ok=True)
            await plugins.stop()

    async def test_one_that_becomes_dangerous(self) -> None:
        path = self.add("one", shell("echo 1"))
        await self.start()
        self.assertEqual((await self.call("one")).kind, "exited")
        self.folder.chmod(0o777)
        self.assertEqual((await self.call("one")).kind, "no_object")
        self.folder.chmod(0o700)
        self.assertEqual((await self.call("one")).kind, "exited")
        os.chown(path, 12345, 0)
        self.assertEqual((await self.call("one")).kind, "no_object")

    async def test_links(self) -> None:
        for place, mode in (("safe", 0o755), ("open", 0o777)):
            folder = self.folder / place
            folder.mkdir()
            folder.chmod(mode)
            write(folder / "target", shell(f"echo {place}"))
        plugins = self.folder / "plugins"
        plugins.mkdir()
        (plugins / "direct").symlink_to(self.folder / "safe" / "target")
        (plugins / "relative").symlink_to("../safe/target")
        (plugins / "astray").symlink_to(self.folder / "open" / "target")
        (self.folder / "open" / "link").symlink_to(self.folder / "safe" / "target")
        (plugins / "indirect").symlink_to(self.folder / "open" / "link")
        (plugins / "loop").symlink_to("loop")
        self.plugins = Plugins(reactor, Threads(reactor), PluginOptions((plugins,)))
        await self.plugins.start()
        self.assertEqual(sorted(self.plugins.objects()), ["direct", "relative"])
        self.assertEqual((await self.call("relative")).output, b"safe\n")

    def test_a_link_of_another_user(self) -> None:
        link = self.folder / "link"
        link.symlink_to(self.add("one", shell("true")))
        self.assertIsNone(ownership.trouble_with(str(link)))
        os.chown(link, 12345, 12345, follow_symlinks=False)
        self.assertEqual(ownership.trouble_with(str(link)), f"{link} belongs to uid 12345")

    def test_links_in_a_circle(self) -> None:
        (self.folder / "a").symlink_to("b")
        (self.folder / "b").symlink_to("a")
        with self.assertRaises(OSError):
            ownership.trouble_with(str(self.folder / "a"))


def open_to_group(path: Path, mode: int) -> None:
    os.chown(path, 0, 12345)
    path.chmod(mode)


def test_the_folder_of_a_test_is_safe(tmp_path: Path) -> None:
    assert ownership.trouble_with(str(tmp_path)) is None
