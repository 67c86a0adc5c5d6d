"""Runs the admin scripts: a vendor's `A/bin/wrapper.sh` where it exists, else our default for the command."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import DeferredLock

from appliance import data
from appliance.admin.directory import AdminDirectory
from appliance.admin.status import note
from appliance.process.run import Finished, ProcessRunner
from appliance.settings import Settings
from appliance.threads import Threads

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT = 120.0
JOB_SECONDS = 3600.0
"""What settings, storage and certs get: one that hangs must not refuse all that come after it. An update and a
restore are never cut off, and a backup can be stopped by request."""
OUTPUT_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Invocation:
    """What to execute: an argument list and the whole environment; no secret stands in either."""

    argv: list[str]
    env: dict[str, str]


class Scripts:
    """The commands of the contract's "Scripts" section. Short ones are run here, one of a kind at a time."""

    def __init__(self, settings: Settings, directory: AdminDirectory, runner: ProcessRunner, threads: Threads) -> None:
        self._settings = settings
        self._directory = directory
        self._runner = runner
        self._threads = threads
        self._locks: dict[str, DeferredLock] = {}

    def invocation(self, command: str, argument: str | None = None) -> Invocation:
        """Return how `command` is run on this appliance."""
        wrapper = self._directory.bin / "wrapper.sh"
        if wrapper.is_file():
            argv = [str(wrapper)] if os.access(wrapper, os.X_OK) else ["/bin/sh", str(wrapper)]
        else:
            argv = ["/bin/sh", str(data.path(f"scripts/{command}"))]
        if argument is not None:
            argv.append(argument)
        return Invocation(argv, self._environment(command))

    async def run(self, command: str, argument: str | None = None, *, timeout: float = TIMEOUT) -> Finished:
        """Run a short command and return how it ended; a second one of the same command waits for the first."""
        return await self._one_at_a_time(command, self.invocation(command, argument), timeout)

    async def show_license(self) -> Finished:
        """Ask `A/bin/license.sh`, where a vendor has brought it, or our script for the licence's details."""
        vendors = self._directory.bin / "license.sh"
        if vendors.is_file():
            invocation = Invocation(["/bin/sh", str(vendors)], self._environment("license"))
            if os.access(vendors, os.X_OK):
                invocation.argv.pop(0)
        else:
            argv = ["/bin/sh", str(data.path("scripts/license")), "SHOW"]
            invocation = Invocation(argv, self._environment("license"))
        return await self._one_at_a_time("license", invocation, TIMEOUT)

    async def _run_tool(self, name: str, *arguments: str) -> Finished:
        """Run one of our stand-alone tools."""
        argv = [sys.executable, "-I", "-S", str(tools() / name), *arguments]
        return await self._runner.run(argv, env=self._environment(name), timeout=TIMEOUT, output_limit=OUTPUT_LIMIT)

    async def recover(self, root: Path, log: Path) -> None:
        """Undo, or complete, what a script that was killed left half-swapped below `root`; a failure goes to `log`.

        The tool's own lock makes it wait for a script that is still at it.
        """
        finished = await self._run_tool("restore.py", "recover", str(root))
        if not finished.succeeded:
            await self._threads.run(note, log, f"Recovery after an interruption failed: {finished.describe()}")

    async def _one_at_a_time(self, command: str, invocation: Invocation, timeout: float) -> Finished:
        lock = self._locks.setdefault(command, DeferredLock())
        await lock.acquire()
        try:
            return await self._runner.run(
                invocation.argv, env=invocation.env, timeout=timeout, output_limit=OUTPUT_LIMIT
            )
        finally:
            lock.release()

    def _environment(self, command: str) -> dict[str, str]:
        admin = self._settings.admin

        def flag(value: bool) -> str:
            return "1" if value else "0"

        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(Path.home()),
            "SSH_ORIGINAL_COMMAND": command,
            "APPLIANCE_ADMIN": str(self._directory.root),
            "APPLIANCE_UPLOADS": str(self._directory.uploads),
            "APPLIANCE_APPLY": flag(admin.apply),
            "APPLIANCE_PYTHON": sys.executable,
            "APPLIANCE_TOOLS": str(tools()),
            "APPLIANCE_BACKUP_ROOT": str(self._settings.backup_root),
            "APPLIANCE_REBOOT_COMMAND": " ".join(admin.reboot_command or ()),
            "APPLIANCE_ALLOW_DOWNGRADE": flag(admin.allow_downgrade),
            "APPLIANCE_ALLOW_REINSTALL": flag(admin.allow_reinstall),
        }


def tools() -> Path:
    """Where our stand-alone tools are."""
    return Path(__file__).resolve().parent / "tools"
