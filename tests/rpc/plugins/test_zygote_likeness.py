"""A script that is forked behaves as one that is started: odd scripts, run both ways."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.process.leader import SessionLeader
from appliance.rpc.plugins import plugins as plugins_module
from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.plugins.plugins import Plugins
from appliance.rpc.plugins.warm import Zygote
from tests.support.odd_scripts import GROUPS, LIST
from tests.support.plugins import PluginsTestCase

PYTHON = "/usr/bin/python3"
Seen = tuple[Outcome, str, dict[str, bytes]]

# What must differ from run to run, though a script shows it.
_FLEETING = re.compile(r"0x[0-9a-f]+|(?<=pid[= ])\d+|(?<=Process-)\d+|Thread-\d+|tmp\w{8}|\b1[0-9]{14}\b")


class LikenessTestCase(PluginsTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.forked = 0
        """How many calls were forked."""
        self.complaints: list[bytes] = []
        outer = self

        launch = Zygote.launch

        async def counted(zygote: Zygote, argv: Sequence[str], descriptors: Mapping[int, int]) -> SessionLeader:
            leader = await launch(zygote, argv, descriptors)
            if argv[1] == "call":  # and not "list", which the folder's watch may ask for at any time
                outer.forked += 1
            return leader

        async def keep(self: Plugins, what: str, ran: Any, payload: bytes) -> None:
            outer.complaints.append(ran.complaint)

        self.patch(plugins_module, "ZYGOTE_PATIENCE", 60)
        self.patch(Zygote, "launch", counted)
        self.patch(Plugins, "_tell", keep)
        (self.folder / "helper.py").write_text("NAME = __name__\n")
        (self.folder / "broken.py").write_text("a = 1\nb = = 2\n")
        (self.folder / "package").mkdir()
        (self.folder / "package" / "__init__.py").write_text("")
        (self.folder / "package" / "inner.py").write_text("NAME = __name__\n")
        for name in ("calls", "process", "scripts", "ending"):
            (self.folder / f"{name}.py").write_text("")

    async def see(self, plugins: Plugins, name: str) -> Seen:
        """Outcome, standard error and the files that were made."""
        before = set(self.folder.iterdir())
        self.complaints.clear()
        outcome = await plugins.call(name, "run", b'{"a": [1, "\xc3\xbc"]}\nsecond', timeout=30)
        files = {}
        for path in set(self.folder.iterdir()) - before:
            if path.name == "__pycache__":
                continue
            files[path.name] = b"" if path.name == "name" else path.read_bytes()
            path.unlink()
        return (
            Outcome(outcome.kind, outcome.exit_code, outcome.signal, _lasting(outcome.output).encode()),
            _lasting(b"".join(self.complaints)),
            files,
        )

    async def compare(self, scripts: dict[str, str], shebang: str = f"#!{PYTHON}") -> None:
        """Run each both ways."""
        names = {}
        for number, (what, body) in enumerate(scripts.items()):
            names[what] = f"odd{number}"
            self.add(f"odd{number}", f"{shebang}\n{LIST}{body.replace('HERE', str(self.folder))}\n")
        fresh = await self.start(zygote=False)
        alone = {what: await self.see(fresh, name) for what, name in names.items()}
        await fresh.stop()
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)
        self.assertEqual(self.forked, 0)
        forking = await self.start()
        for what, name in names.items():
            forked = self.forked
            seen = await self.see(forking, name)
            with self.subTest(what):
                self.assertEqual(seen, alone[what])
                self.assertEqual(self.forked, forked + 1, "it was not forked, or not once")


class LikenessTests(LikenessTestCase):
    async def test_exits(self) -> None:
        await self.compare(GROUPS["exits"])

    async def test_errors(self) -> None:
        await self.compare(GROUPS["errors"])

    async def test_endings(self) -> None:
        await self.compare(GROUPS["endings"])

    async def test_threads(self) -> None:
        await self.compare(GROUPS["threads"])

    async def test_processes(self) -> None:
        await self.compare(GROUPS["processes"])

    async def test_input(self) -> None:
        await self.compare(GROUPS["input"])

    async def test_output(self) -> None:
        await self.compare(GROUPS["output"])

    async def test_surroundings(self) -> None:
        await self.compare(GROUPS["surroundings"])

    async def test_changes(self) -> None:
        await self.compare(GROUPS["changes"])


class FlagTests(LikenessTestCase):
    async def test_flags_of_the_interpreter(self) -> None:
        scripts = {
            **{what: GROUPS["surroundings"][what] for what in ("flags", "path", "encodings", "interpreter")},
            **{what: GROUPS["errors"][what] for what in ("a warning", "an assertion", "an error")},
            "output of a kind": GROUPS["output"]["of a kind"],
            "a file left open": GROUPS["endings"]["a file left open"],
        }
        for flags in (" -I", " -sE", " -O", " -B", " -u", " -S", " -bb", " -Xutf8=0", " -Walways", " -Wignore"):
            with self.subTest(flags):
                await self.compare(scripts, f"#!{PYTHON}{flags}")
                assert self.plugins is not None
                await self.plugins.stop()
                self.forked = 0

    async def test_through_env(self) -> None:
        scripts = {what: GROUPS["surroundings"][what] for what in ("flags", "path", "arguments", "interpreter")}
        for line in ("/usr/bin/env python3", "/usr/bin/env -S python3 -I", "/usr/bin/env -S A=b python3"):
            await self.compare(scripts, f"#!{line}")
            assert self.plugins is not None
            await self.plugins.stop()
            self.forked = 0


def _lasting(text: bytes) -> str:
    return _FLEETING.sub("~", text.decode("utf-8", "backslashreplace"))


def test_scripts_of_one_group_have_different_names() -> None:
    assert all(Path(what).name for group in GROUPS.values() for what in group)
