"""The plugins that are brought along, called as any other."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import data
from appliance.process.command import ENVIRONMENT
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.threads import Threads
from tests.support.journal import append, numbered
from tests.support.machine import Machine, machine
from tests.support.plugins import PluginsTestCase, reactor, write
from tests.support.processes import eventually

SYSTEMCTL = """#!/bin/sh
[ "$1 $2 $3" = "show --property=LoadState,ActiveState,UnitFileState --" ] || exit 9
case "$4" in
ssh.service) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;
broken.service) printf 'LoadState=loaded\\nActiveState=failed\\nUnitFileState=disabled\\n' ;;
down.service) printf 'LoadState=loaded\\nActiveState=inactive\\nUnitFileState=enabled\\n' ;;
off.service) printf 'LoadState=loaded\\nActiveState=inactive\\nUnitFileState=disabled\\n' ;;
*) printf 'LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n' ;;
esac
"""


class DataPluginsTestCase(PluginsTestCase):
    """The plugins, with programs of the test's own before those of the system."""

    async def start(self, **options: Any) -> Plugins:
        environment = {**ENVIRONMENT, "PATH": f"{self.folder}:{ENVIRONMENT['PATH']}"}
        self.plugins = Plugins(
            reactor, Threads(reactor), PluginOptions((data.path("plugins"),), environment=environment, **options)
        )
        await self.plugins.start()
        return self.plugins

    async def ask(self, name: str, method: str, payload: object = None, **options: Any) -> Any:
        """The JSON that a method prints."""
        outcome = await self.call(name, payload or {}, method=method, **options)
        self.assertEqual((outcome.kind, outcome.exit_code), ("exited", 0))
        return json.loads(outcome.output)


class ExampleTests(DataPluginsTestCase):
    async def test_all_are_there_with_their_acls(self) -> None:
        plugins = await self.start()
        granted: dict[str, set[str]] = {}
        for path in data.path("acl.d").glob("ns.*.json"):
            for group in json.loads(path.read_text()).values():
                for block in (group["read"], group["write"]):
                    for name, methods in block.get("ubus", {}).items():
                        granted.setdefault(name, set()).update(methods)
        listed = {name: set(methods) for name, methods in plugins.objects().items()}
        self.assertEqual(set(granted), set(listed))
        for name, methods in granted.items():
            self.assertIn(methods, (listed[name], {"*"}))

    async def test_say(self) -> None:
        self.assertEqual(await self.ask("ns.example", "say", {"message": "hello"}), {"result": "hello"})
        self.assertEqual(await self.ask("ns.example", "say"), {"result": "myvalue"})
        refused = await self.ask("ns.example", "say", {"message": 5})
        self.assertEqual(refused["validation"]["errors"][0]["parameter"], "message")

    async def test_hello(self) -> None:
        self.assertIn("hello from process", (await self.ask("ns.hello", "greet"))["result"])
        self.assertEqual(await self.ask("ns.hello", "echo", {"a": ["b\\\n"]}), {"result": {"a": ["b\\\n"]}})
        seen: list[int] = []
        self.assertEqual(await self.ask("ns.hello", "count", progress=seen.append), {"result": 5})
        self.assertEqual(seen[-1], 100)

    async def test_methods_that_there_are_not(self) -> None:
        for path in data.path("plugins").iterdir():
            for arguments in (["call", "none"], ["other"]):
                finished = await Threads(reactor).run(_run, str(path), *arguments)
                self.assertEqual(finished, 3, f"{path.name} {arguments}")


class DashboardTests(DataPluginsTestCase):
    async def test_system_info(self) -> None:
        found = (await self.ask("ns.dashboard", "system-info"))["result"]
        self.assertEqual(found["hostname"], socket.gethostname())
        self.assertGreater(found["uptime"], 0)
        self.assertEqual(len(found["load"]), 3)
        self.assertEqual(found["version"]["arch"], os.uname().machine)
        total = os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PHYS_PAGES")
        self.assertApproximates(sum(found["memory"].values()) / total, 1, 0.05)
        space = os.statvfs("/")
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        self.assertApproximates(found["storage"]["/"]["used_bytes"] / used, 1, 0.05)

    async def test_service_status(self) -> None:
        write(self.folder / "systemctl", SYSTEMCTL)
        expected = {"ssh": "ok", "broken": "error", "down": "error", "off": "disabled", "none": "unknown"}
        expected["ssh.service"] = "ok"
        for service, status in expected.items():
            found = await self.ask("ns.dashboard", "service-status", {"service": service})
            self.assertEqual(found, {"result": {"status": status}}, service)
        write(self.folder / "systemctl", "#!/bin/sh\nexit 1\n")
        found = await self.ask("ns.dashboard", "service-status", {"service": "ssh"})
        self.assertEqual(found, {"result": {"status": "unknown"}})

    async def test_services_that_are_none(self) -> None:
        services: list[object] = [None, "", "-h", "../x", "a b", "a\n", 5, "x" * 300]
        for service in services:
            found = await self.ask("ns.dashboard", "service-status", {"service": service})
            self.assertEqual(found["validation"]["errors"][0]["value"], service)

    async def test_counters(self) -> None:
        neighbours = [
            {"dst": "10.0.0.1", "lladdr": "02:00:00:00:00:01", "state": ["REACHABLE"]},
            {"dst": "fe80::1", "lladdr": "02:00:00:00:00:01", "state": ["STALE"]},
            {"dst": "10.0.0.2", "lladdr": "02:00:00:00:00:02", "state": ["STALE"]},
            {"dst": "10.0.0.3", "state": ["FAILED"]},
        ]
        write(self.folder / "ip", f"#!/bin/sh\necho '{json.dumps(neighbours)}'\n")
        self.assertEqual(await self.ask("ns.dashboard", "counter", {"service": "hosts"}), {"result": {"count": 2}})
        count = (await self.ask("ns.dashboard", "counter", {"service": "processes"}))["result"]["count"]
        self.assertGreater(count, 1)
        self.assertEqual(set(await self.ask("ns.dashboard", "counter", {"service": "users"})), {"result"})
        unknown: list[object] = ["nobody", None, [], {}]
        for service in unknown:
            self.assertIn("validation", await self.ask("ns.dashboard", "counter", {"service": service}))


class InMachineTests(DataPluginsTestCase):
    async def test_the_way_out(self) -> None:
        with machine(self.folder / "machine") as inside:
            plugin = str(data.path("plugins") / "ns.dashboard")

            def status() -> Any:
                asked = inside.run(plugin, "call", "service-status", stdin='{"service": "internet"}')
                return json.loads(asked.stdout)["result"]["status"]

            self.assertEqual(status(), "error")
            inside.run("ip", "route", "add", "default", "dev", "lo")
            self.assertEqual(status(), "ok")


class PowerTests(DataPluginsTestCase):
    async def test_it_is_done_after_the_answer(self) -> None:
        for program in ("systemctl", "poweroff", "reboot"):
            write(self.folder / program, f'#!/bin/sh\necho "$(basename "$0") $*" >> {self.folder}/done\n')
        for action in ("reboot", "poweroff"):
            self.assertEqual(await self.ask("ns.power", action), {"result": "success"})
            self.assertFalse((self.folder / "done").exists())
            await eventually((self.folder / "done").exists, action)
            self.assertIn(action, (self.folder / "done").read_text())
            (self.folder / "done").unlink()

    async def test_nobody_to_do_it(self) -> None:
        self.plugins = Plugins(
            reactor,
            Threads(reactor),
            PluginOptions((data.path("plugins"),), environment={"PATH": "/nowhere", "LANG": "C.UTF-8"}),
        )
        await self.plugins.start()
        self.assertEqual(await self.ask("ns.power", "reboot"), {"error": "command_not_found"})


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a journal of 120 messages."""
    folder = tmp_path_factory.mktemp("machine")
    append(folder / "journal" / "system.journal", numbered(0, 120))
    with machine(folder) as found:
        mine = "/var/log/journal/0123456789abcdef0123456789abcdef"
        found.run("sh", "-c", f"rm -f /etc/machine-id; echo {Path(mine).name} > /etc/machine-id; mkdir -p {mine}")
        found.run("cp", str(folder / "journal" / "system.journal"), mine)
        yield found


def page(inside: Machine, **arguments: object) -> Any:
    """A page of the journal as the plugin gives it."""
    return json.loads(
        inside.run(str(data.path("plugins") / "ns.log"), "call", "page", stdin=json.dumps(arguments)).stdout
    )


def numbers(found: Any) -> list[int]:
    return [int(each["message"].split()[-1]) for each in found["values"]]


class TestLog:
    def test_newest_first(self, inside: Machine) -> None:
        found = page(inside, limit=3)
        assert numbers(found) == [119, 118, 117]
        assert found["values"][0] == {
            "cursor": found["values"][0]["cursor"],
            "time": 1_760_000_000 + 119,
            "unit": "u2.service",
            "priority": 7,
            "message": "message number 119",
        }

    def test_all_pages(self, inside: Machine) -> None:
        seen: list[int] = []
        before = ""
        while True:
            found = page(inside, limit=50, before=before)
            seen += numbers(found)
            before = found["next"]
            if not before:
                break
        assert seen == list(range(119, -1, -1))

    def test_of_a_unit_and_with_a_text(self, inside: Machine) -> None:
        assert numbers(page(inside, unit="u0.service", limit=2)) == [117, 114]
        assert numbers(page(inside, search="NUMBER 11")) == [119, 118, 117, 116, 115, 114, 113, 112, 111, 110, 11]
        assert numbers(page(inside, search="number 1.9")) == []  # a text, no pattern
        first = page(inside, unit="u1.service", search="number 1", limit=3)
        second = page(inside, unit="u1.service", search="number 1", before=first["next"], limit=3)
        assert numbers(first) + numbers(second) == [118, 115, 112, 109, 106, 103]
        assert page(inside, unit="none") == {"values": [], "next": ""}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("limit", 0), ("limit", 1001), ("limit", -1), ("limit", "5"), ("limit", 2.5), ("limit", True)),
            *(("before", "a b"), ("before", "s=1;\n"), ("before", 5), ("before", "x" * 400)),
            *(("unit", "-u"), ("unit", "a b"), ("unit", 7), ("unit", ["x"])),
            *(("search", "a\nb"), ("search", "x" * 201), ("search", {})),
        ],
    )
    def test_what_is_refused(self, inside: Machine, name: str, value: object) -> None:
        (error,) = page(inside, **{name: value})["validation"]["errors"]
        assert (error["parameter"], error["value"]) == (name, value)


def _run(*argv: str) -> int:
    return subprocess.run(argv, input=b"{}", capture_output=True, check=False).returncode
