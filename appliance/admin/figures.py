"""Live figures of the machine in the reference's shape, or a vendor's own."""

import os
import shutil
import time
from pathlib import Path

import msgspec
import psutil

from appliance.admin.models import CpuFigures, DiskFigures, Health
from appliance.files import read_limited

FRESH_SECONDS = 600
_LIMIT = 64 * 1024
_UNITS = ("K", "M", "G", "T", "P")


def human(size: int, unit: str = "") -> str:
    """Write bytes as `df -h` does: `12K`, `3.4G`, `234G`; with `unit` always in that one."""
    value = size / 1024
    chosen = "K"
    for chosen in _UNITS:
        if chosen == unit or (not unit and value < 1000) or chosen == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f}{chosen}" if value >= 10 or value == int(value) else f"{value:.1f}{chosen}"


def live(folder: Path) -> Health:
    """Measure now; the disk is the one that holds `folder`. Blocking; raises OSError."""
    disk = shutil.disk_usage(folder)
    memory = psutil.virtual_memory()
    load = os.getloadavg()
    processors = os.cpu_count() or 1
    return Health(
        disk=DiskFigures(human(disk.used), human(disk.total), round(100 * disk.used / (disk.used + disk.free))),
        memory=DiskFigures(
            human(memory.total - memory.available, "M"), human(memory.total, "M"), round(memory.percent)
        ),
        cpu=CpuFigures(processors, ", ".join(f"{value:.2f}" for value in load), round(100 * load[1] / processors)),
    )


def vendors(path: Path) -> dict[str, object] | None:
    """Return the vendor's health.json where it is a JSON object written within the last ten minutes. Blocking."""
    try:
        if abs(time.time() - path.stat().st_mtime) > FRESH_SECONDS:
            return None
        return msgspec.json.decode(read_limited(path, _LIMIT), type=dict[str, object])
    except (OSError, ValueError, msgspec.DecodeError):
        return None
