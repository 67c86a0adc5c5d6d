"""
`uci`, over a stand-in for its command: OpenWrt's own is packaged for nothing that we run on.

The stand-in prints what `uci(1)` of OpenWrt 23.05 is documented to print, and takes a batch on its standard input.
"""

from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.process.run import ProcessRunner
from appliance.rpc.acl import EVERYTHING, READ, WRITE, Block, Grants, Group, Rights
from appliance.rpc.builtin.object import Asker, Failed
from appliance.rpc.builtin.uci import UciObject, parse_changes, parse_show
from tests.support.processes import children

reactor: Any = global_reactor

SHOW = r"""network.loopback=interface
network.loopback.device='lo'
network.lan=interface
network.lan.proto='static'
network.lan.dns='1.1.1.1' '8.8.8.8'
network.lan.note='it'\''s a=b'
network.lan.lines='one
two.x=3'
network.cfg030f15=route
network.cfg030f15.target='0.0.0.0/0'
"""

CHANGES = r"""network.lan.proto='dhcp'
network.lan.dns+='9.9.9.9'
network.lan.dns-='8.8.8.8'
-network.lan.note
network.guest=interface
-network.old
system.cfg01e48a.hostname='it'\''s'
"""

COMMAND = """#!/bin/sh
echo "$@" >> "FOLDER/calls"
case "$*" in
"-q -X show network") cat "FOLDER/show" ;;
"-q changes"*) cat "FOLDER/changes" ;;
"batch") cat > "FOLDER/batch"; cat "FOLDER/complaint" >&2 ;;
"revert network") ;;
*) exit 1 ;;
esac
"""


def test_what_show_prints() -> None:
    assert parse_show(SHOW) == {
        "loopback": {".anonymous": False, ".type": "interface", ".name": "loopback", ".index": 0, "device": "lo"},
        "lan": {
            ".anonymous": False,
            ".type": "interface",
            ".name": "lan",
            ".index": 1,
            "proto": "static",
            "dns": ["1.1.1.1", "8.8.8.8"],
            "note": "it's a=b",
            "lines": "one\ntwo.x=3",
        },
        "cfg030f15": {
            ".anonymous": True,
            ".type": "route",
            ".name": "cfg030f15",
            ".index": 2,
            "target": "0.0.0.0/0",
        },
    }


def test_what_changes_prints() -> None:
    assert parse_changes(CHANGES) == {
        "network": [
            ["set", "lan", "proto", "dhcp"],
            ["list-add", "lan", "dns", "9.9.9.9"],
            ["list-del", "lan", "dns", "8.8.8.8"],
            ["remove", "lan", "note"],
            ["add", "guest", "interface"],
            ["remove", "old"],
        ],
        "system": [["set", "cfg01e48a", "hostname", "it's"]],
    }


class UciTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        for name, content in (("show", SHOW), ("changes", CHANGES), ("complaint", ""), ("calls", "")):
            (self.folder / name).write_text(content)
        command = self.folder / "uci"
        command.write_text(COMMAND.replace("FOLDER", str(self.folder)))
        command.chmod(0o755)
        self.before = set(children())
        self.runner = ProcessRunner(reactor)
        self.uci = UciObject(self.runner, f"{self.folder}:/usr/bin:/bin")
        group = Group(Block((), ("network",)), Block((), ("network",)))
        self.asker = Asker("ann", False, Grants({"g": [group]}, EVERYTHING))

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.runner.stop()
        self.assertLessEqual(set(children()), self.before)

    async def call(self, method: str, **arguments: object) -> Any:
        return await self.uci.call(method, arguments, self.asker)

    async def status(self, method: str, **arguments: object) -> int:
        try:
            await self.call(method, **arguments)
        except Failed as error:
            return error.status
        return 0

    def test_it_is_there_where_its_command_is(self) -> None:
        self.assertEqual(set(self.uci.methods()), {"get", "set", "changes", "revert"})
        self.assertEqual(UciObject(self.runner, "/nonexistent").methods(), {})

    async def test_get(self) -> None:
        whole = await self.call("get", config="network")
        self.assertEqual(whole, {"values": parse_show(SHOW)})
        self.assertEqual(set((await self.call("get", config="network", type="route"))["values"]), {"cfg030f15"})
        self.assertEqual((await self.call("get", config="network", section="lan"))["values"]["proto"], "static")
        self.assertEqual(
            await self.call("get", config="network", section="lan", option="dns"), {"value": ["1.1.1.1", "8.8.8.8"]}
        )

    async def test_what_is_not_there(self) -> None:
        self.assertEqual(await self.status("get", config="network", section="wan"), 4)
        self.assertEqual(await self.status("get", config="network", section="lan", option="x"), 4)

    async def test_set_goes_by_standard_input(self) -> None:
        values = {"key": "it's s3cret", "number": 7, "flag": True, "list": ["a", "b\nc"]}
        self.assertEqual(await self.call("set", config="network", section="lan", values=values), {})
        self.assertEqual(
            (self.folder / "batch").read_text(),
            "set network.lan.key='it'\\''s s3cret'\nset network.lan.number='7'\nset network.lan.flag='1'\n"
            "set network.lan.list=''\ndelete network.lan.list\nadd_list network.lan.list='a'\n"
            "add_list network.lan.list='b\nc'\n",
        )
        self.assertNotIn("s3cret", (self.folder / "calls").read_text())

    async def test_what_cannot_be_set(self) -> None:
        none: tuple[object, ...] = (
            {},
            None,
            [],
            {"a.b": "x"},
            {"a b": "x"},
            {"": "x"},
            {"a": None},
            {"a": {}},
            {"a": [1]},
            {"a": "\0"},
        )
        for values in none:
            self.assertEqual(await self.status("set", config="network", section="lan", values=values), 2, values)
        self.assertEqual(await self.status("set", config="network", section="wan", values={"a": "x"}), 4)
        self.assertEqual(await self.status("set", config="network", section="@x[0]", values={"a": "x"}), 2)
        self.assertEqual(await self.status("set", config="network", values={"a": "x"}), 2)
        self.assertFalse((self.folder / "batch").exists())
        (self.folder / "complaint").write_text("uci: Parse error\n")
        self.assertEqual(await self.status("set", config="network", section="lan", values={"a": "x"}), 2)

    async def test_changes_and_revert(self) -> None:
        found = await self.call("changes", config="network")
        self.assertEqual(found, {"changes": parse_changes(CHANGES)["network"]})
        # All that may be read: `system` may not.
        self.assertEqual(await self.call("changes"), {"changes": {"network": parse_changes(CHANGES)["network"]}})
        self.assertEqual(await self.call("revert", config="network"), {})

    async def test_a_configuration_takes_a_grant_of_its_own(self) -> None:
        for method in ("get", "set", "changes", "revert"):
            self.assertEqual(await self.status(method, config="system", section="x", values={"a": "b"}), 6)
        readable = Asker("ann", False, Grants({"g": [Group(Block((), ("network",)))]}, Rights(("g",))))
        self.assertTrue(readable.grants.allows_config("network", READ))
        self.assertFalse(readable.grants.allows_config("network", WRITE))
        self.asker = readable
        self.assertEqual(await self.status("get", config="network"), 0)
        self.assertEqual(await self.status("revert", config="network"), 6)

    async def test_names_that_are_none(self) -> None:
        for config in (None, "", "-x", "../x", "a b", "a.b", "x" * 200, 7):
            self.assertEqual(await self.status("get", config=config), 2, config)
        self.assertEqual((self.folder / "calls").read_text(), "")
