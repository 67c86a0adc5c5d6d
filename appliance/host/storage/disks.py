"""The disks as they are at this moment, from caches that the kernel's own notices keep true."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.host.shared import Shared
from appliance.host.storage import sysfs
from appliance.host.storage.assembly import Tables, disk_of, free_among, read_tables
from appliance.host.storage.blockdevices import Block, BlockDevices
from appliance.host.storage.changes import EVERYTHING, Changes
from appliance.host.storage.model import Disk, FreeDisk
from appliance.host.storage.sysfs import Hardware
from appliance.host.storage.usage import Usage
from appliance.threads import Threads

USAGE_SECONDS = 2.0
"""How old the figures of use may be; and all else, where nothing tells that a file system was made."""
DEVICES_SECONDS = 30.0
"""How old the list of devices may be although nothing was heard: uevents do not reach every container."""
_ATTEMPTS = 3
_NEVER = -math.inf


class Disks:
    """Answers from memory; looks again at what has changed or is too old, once for all who wait."""

    def __init__(self, reactor: Any, threads: Threads, devices: BlockDevices) -> None:
        self._reactor = reactor
        self._threads = threads
        self._devices = devices
        self._usage = Usage(reactor, threads)
        self._changes: Changes | None = None
        self._renewal = Shared(self._renew)
        self._generation = 0  # counts the changes noticed: what was read before one is not kept
        self._blocks: Sequence[Block] = []
        self._hardware: Mapping[str, Hardware] = {}
        self._blocks_at = _NEVER
        self._tables: Tables | None = None
        self._disks: list[Disk] = []
        self._disks_at = _NEVER

    async def start(self) -> None:
        """Begin to listen for changes. Raises OSError where the kernel's tables cannot be read."""
        self._changes = await self._threads.run(Changes)

    def stop(self) -> None:
        """Stop listening; what is asked from now on is looked at each time."""
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    async def snapshot(self) -> list[Disk]:
        """All disks; the same object as long as nothing is different. Raises `Unavailable`."""
        self._notice_changes()
        if self._is_younger(self._disks_at, USAGE_SECONDS):
            return self._disks
        return await self._renewal.result()

    async def free(self) -> list[FreeDisk]:
        """Disks and partitions that hold nothing: no file system, no partitions, no part of anything."""
        return list(free_among(await self.snapshot()))

    def forget(self) -> None:
        """Look at everything anew: we have changed something that nothing else may tell of."""
        self._generation += 1
        self._blocks_at = self._disks_at = _NEVER
        self._tables = None

    def _notice_changes(self) -> None:
        changed = EVERYTHING if self._changes is None else self._changes.look()
        if changed.devices:
            self.forget()
        elif changed.tables:
            self._generation += 1
            self._disks_at = _NEVER
            self._tables = None

    async def _renew(self) -> list[Disk]:
        for _ in range(_ATTEMPTS):
            generation, now = self._generation, self._reactor.seconds()
            if not self._is_younger(self._blocks_at, DEVICES_SECONDS if self._hears_all else USAGE_SECONDS):
                await self._renew_blocks()
                if generation == self._generation:
                    self._blocks_at = now
            tables = self._tables
            if tables is None:
                tables = await self._threads.run(read_tables)
            usage = await self._usage.measure(tables.measurable(self._blocks))
            disks = [disk_of(block, self._hardware[block.number], tables, usage) for block in self._blocks]
            if disks != self._disks:
                self._disks = disks
            self._notice_changes()
            if generation == self._generation:
                self._tables, self._disks_at = tables, now
                break
        return self._disks

    async def _renew_blocks(self) -> None:
        blocks = await self._devices.read()
        self._hardware = await self._threads.run(_hardware_of, blocks)
        self._blocks = [block for block in blocks if not _is_idle_loop(block, self._hardware[block.number])]

    def _is_younger(self, made: float, seconds: float) -> bool:
        """Also false for what was made in the future, which a clock that was set back leaves."""
        age: float = self._reactor.seconds() - made
        return 0 <= age < seconds

    @property
    def _hears_all(self) -> bool:
        return self._changes is not None and self._changes.hears_devices and self._devices.has_udev


def _hardware_of(blocks: Sequence[Block]) -> dict[str, Hardware]:
    return {block.number: sysfs.hardware(block.number) for block in blocks}


def _is_idle_loop(block: Block, hardware: Hardware) -> bool:
    return block.type == "loop" and not hardware.backing_file
