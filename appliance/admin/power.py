"""Rebooting: settings are backed up first; refused where it cannot work."""

import os
from pathlib import Path

from twisted.logger import Logger

from appliance.admin.backup import Backups
from appliance.admin.errors import Refused
from appliance.admin.scripts import Scripts
from appliance.background import Background
from appliance.process.errors import AlreadyRunning, JobError, ProcessError
from appliance.settings import Settings
from appliance.threads import Threads

# systemd's CONTAINER_INTERFACE, Docker and podman leave these marks.
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container", "/run/host/container-manager")


class Power:
    """Reboots the machine by the script `reboot`."""

    _log = Logger()

    def __init__(
        self, settings: Settings, scripts: Scripts, backups: Backups, threads: Threads, background: Background
    ) -> None:
        self._apply = settings.admin.apply
        self._scripts = scripts
        self._backups = backups
        self._threads = threads
        self._background = background

    async def reboot(self, owner: str) -> None:
        """Begin to reboot. Raises `Refused` with the reason where that is not to be had."""
        why_not = await self._threads.run(self._unavailable)
        if why_not is not None:
            raise Refused(f"Reboot is not available: {why_not}")
        self._background.spawn("reboot", self._back_up_and_reboot(owner))

    async def _back_up_and_reboot(self, owner: str) -> None:
        try:
            job = await self._backups.start(owner)
            await job.wait()
        except AlreadyRunning:
            pass  # a backup that runs already holds the same settings
        except (JobError, ProcessError, OSError) as error:
            # A full disk, as likely as not: no reason to refuse what may be its cure.
            self._log.error("Rebooting without a backup of the settings: {error}", error=error)
        finished = await self._scripts.run("reboot")
        if not finished.succeeded:
            raise Refused(f"Reboot failed: {finished.describe()}")

    def _unavailable(self) -> str | None:
        if not self._apply:
            return "[admin] apply is off"
        if any(os.path.exists(mark) for mark in _CONTAINER_MARKS) or _container_in_environment():
            return "running in a container"
        if os.geteuid() != 0:
            return "not permitted"
        return None


def _container_in_environment() -> bool:
    """Containers tell their first process so (systemd's CONTAINER_INTERFACE, `container=`)."""
    try:
        return b"container=" in Path("/proc/1/environ").read_bytes()
    except OSError:
        return False
