"""`system`: the figures that OpenWrt's procd gives (system.c), by the same names and in the same units."""

import os
import time
from collections.abc import Mapping

import psutil

from appliance.host.figures import OsRelease
from appliance.host.hardware import HardwareFacts
from appliance.rpc.builtin.object import Asker
from appliance.threads import Threads

_LOAD_UNIT = 65536
_KIBIBYTE = 1024


class SystemObject:
    """`info` (time, load, memory, room) and `board` (what the machine is)."""

    def __init__(self, threads: Threads, hardware: HardwareFacts) -> None:
        self._threads = threads
        self._hardware = hardware
        self._release = OsRelease()

    def methods(self) -> Mapping[str, Mapping[str, object]]:
        """See `BuiltinObject`."""
        return {"board": {}, "info": {}}

    async def call(self, method: str, arguments: Mapping[str, object], asker: Asker) -> object:
        """See `BuiltinObject`."""
        if method == "info":
            return await self._threads.run(_info)
        return await self._board()

    async def _board(self) -> dict[str, object]:
        facts = await self._hardware.facts()
        release = self._release.fields()
        machine = os.uname()
        return {
            "kernel": machine.release,
            "hostname": machine.nodename,
            "system": facts.cpu_model,
            "model": facts.product or facts.virtualization,
            "board_name": (facts.product or facts.virtualization).lower().replace(" ", "-"),
            "release": {
                "distribution": release.get("NAME", "Linux"),
                "version": release.get("VERSION_ID", ""),
                "revision": release.get("BUILD_ID", ""),
                "codename": release.get("VERSION_CODENAME", ""),
                "target": machine.machine,
                "description": release.get("PRETTY_NAME", "Linux"),
            },
        }


def _info() -> dict[str, object]:
    now = int(time.time())
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "localtime": now + time.localtime(now).tm_gmtoff,
        "uptime": int(time.clock_gettime(time.CLOCK_BOOTTIME)),
        "load": [int(each * _LOAD_UNIT) for each in os.getloadavg()],
        "memory": {
            "total": memory.total,
            "free": memory.free,
            "shared": memory.shared,
            "buffered": memory.buffers,
            "available": memory.available,
            "cached": memory.cached,
        },
        "root": _room("/"),
        "tmp": _room("/tmp"),  # noqa: S108 - nothing is written there
        "swap": {"total": swap.total, "free": swap.free},
    }


def _room(folder: str) -> dict[str, int]:
    found = os.statvfs(folder)
    unit = found.f_frsize
    return {
        "total": found.f_blocks * unit // _KIBIBYTE,
        "free": found.f_bfree * unit // _KIBIBYTE,
        "used": (found.f_blocks - found.f_bfree) * unit // _KIBIBYTE,
        "avail": found.f_bavail * unit // _KIBIBYTE,
    }
