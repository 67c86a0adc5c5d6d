"""The storage of this machine: one object that holds its parts together."""

from typing import Any

from twisted.internet.defer import DeferredLock

from appliance.background import Background
from appliance.host.job_status import JobStatuses
from appliance.host.storage import arrays
from appliance.host.storage.arrays import IscsiSession, MultipathDevice, RaidDevice
from appliance.host.storage.blockdevices import BlockDevices
from appliance.host.storage.disks import Disks
from appliance.host.storage.formats import Formats
from appliance.host.storage.lvm import Lvm
from appliance.host.storage.mounts import Mounts
from appliance.process.jobs import Jobs
from appliance.process.run import ProcessRunner
from appliance.threads import Threads


class Storage:
    """`disks`, `mounts`, `formats` and `lvm`, and what only needs to be read.

    Made before the jobs are adopted, started after.
    """

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        runner: ProcessRunner,
        jobs: Jobs,
        statuses: JobStatuses,
        background: Background,
    ) -> None:
        self._threads = threads
        devices = BlockDevices(runner)
        lock = DeferredLock()  # a mount must not come between the last look before a format and its beginning
        self.disks = Disks(reactor, threads, devices)
        self.mounts = Mounts(threads, runner, devices, lock, self.disks.forget)
        self.formats = Formats(reactor, threads, runner, jobs, statuses, background, lock, self.disks.forget)
        self.lvm = Lvm(reactor, runner)

    async def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel's tables cannot be read."""
        await self.disks.start()
        self.formats.resume()

    async def stop(self) -> None:
        """End what `start` began."""
        self.disks.stop()

    async def raid_devices(self) -> list[RaidDevice]:
        """All arrays of md."""
        return await self._threads.run(arrays.raid_devices)

    async def iscsi_sessions(self) -> list[IscsiSession]:
        """All sessions of the kernel's iSCSI initiator."""
        return await self._threads.run(arrays.iscsi_sessions)

    async def multipath_devices(self) -> list[MultipathDevice]:
        """All devices that several paths lead to."""
        return await self._threads.run(arrays.multipath_devices)
