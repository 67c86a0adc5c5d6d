"""Plugins made for a test, called without HTTP."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from appliance.rpc.plugins.outcome import Outcome
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.threads import Threads
from tests.support.processes import alive, children, eventually, number_in

reactor: Any = global_reactor

SHELL = """#!/bin/sh
case "$1" in
list) echo '{"run": {"message": "value"}}' ;;
call) shift 2
"""


def shell(body: str) -> str:
    """A plugin in sh whose only method, `run`, is `body`."""
    return f"{SHELL}{body}\n;;\nesac\n"


def python(body: str, shebang: str = "#!/usr/bin/python3") -> str:
    """A plugin in Python whose only method, `run`, is `body`."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f'{shebang}\nimport sys\nif sys.argv[1] == "list":\n    print(\'{{"run": {{}}}}\')\nelse:\n{lines}\n'


def write(path: Path, text: str, mode: int = 0o755) -> Path:
    """A plugin's file, complete from the moment it has its name."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
    return path


class PluginsTestCase(TestCase):
    """A folder of plugins, and `Plugins` over it in the surroundings that the server gives them."""

    async def setUp(self) -> None:  # type: ignore[override]
        await Threads(reactor).run(lambda: None)  # what the reactor opens when it begins to run is open now
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.plugins: Plugins | None = None
        self.before = set(children())
        here, umask = os.getcwd(), os.umask(0o077)
        os.chdir("/")
        self.addCleanup(os.chdir, here)
        self.addCleanup(os.umask, umask)
        self.descriptors = _descriptors()

    async def tearDown(self) -> None:  # type: ignore[override]
        if self.plugins is not None:
            await self.plugins.stop()
        await eventually(lambda: set(children()) <= self.before, "the reaping of every child")
        await eventually(lambda: _descriptors() <= self.descriptors, "the closing of every descriptor")

    def add(self, name: str, text: str) -> Path:
        """Put a plugin there."""
        return write(self.folder / name, text)

    async def start(self, **options: Any) -> Plugins:
        """Start with what is there now."""
        self.plugins = Plugins(reactor, Threads(reactor), PluginOptions((self.folder,), **options))
        await self.plugins.start()
        return self.plugins

    def begin(
        self,
        name: str,
        payload: object = b"{}",
        *,
        method: str = "run",
        timeout: float = 60,
        progress: Callable[[int], None] | None = None,
        caller: str = "",
    ) -> Deferred[Outcome]:
        """Call a plugin."""
        assert self.plugins is not None
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        call = self.plugins.call(name, method, text, timeout=timeout, progress=progress, caller=caller)
        return Deferred.fromCoroutine(call)

    async def call(self, name: str, payload: object = b"{}", **options: Any) -> Outcome:
        """Call a plugin, started with what is there now if need be."""
        if self.plugins is None:
            await self.start()
        return await self.begin(name, payload, **options)

    async def run_shell(self, body: str, payload: object = b"{}", **options: Any) -> Outcome:
        """Call a plugin in sh made of `body`."""
        self.add("one", shell(body))
        return await self.call("one", payload, **options)

    async def gone(self, *files: str) -> None:
        """Wait until the processes whose numbers are in these files of the folder have ended."""
        pids = [number_in(self.folder / file) for file in files]
        self.assertNotIn(0, pids)
        await eventually(lambda: not any(alive(pid) for pid in pids), "the end of all")


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the directory
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return found
