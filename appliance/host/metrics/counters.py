"""The kernel's counters that rates are made of. A few short reads of /proc, cheap enough for the reactor."""

from collections.abc import Mapping

import msgspec
import psutil

from appliance.host.figures import CpuReading, read_processors
from appliance.host.metrics.model import DiskIo, Traffic
from appliance.host.storage.tables import printable

_DISKSTATS = "/proc/diskstats"
_SECTOR = 512  # in these counters, whatever the device's own sectors are (Documentation/admin-guide/iostats.rst)


class Operations(msgspec.Struct, frozen=True):
    """What a block device has done since it exists."""

    reads: int
    read_bytes: int
    writes: int
    write_bytes: int


class Counters(msgspec.Struct, frozen=True):
    """All counters at one moment (seconds); devices by their number, interfaces by name."""

    at: float
    processors: CpuReading
    devices: Mapping[str, Operations]
    interfaces: Mapping[str, Traffic]


def read_counters(now: float) -> Counters:
    """Read them all. Raises OSError."""
    return Counters(now, read_processors(now), read_devices(), read_interfaces())


def read_devices(path: str = _DISKSTATS) -> dict[str, Operations]:
    """The block devices' counters by `MAJOR:MINOR`; none where the kernel does not show them."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        major, minor, _, reads, _, sectors_read, _, writes, _, sectors_written, *_ = line.split()
        number = f"{int(major)}:{int(minor)}"
        found[number] = Operations(int(reads), int(sectors_read) * _SECTOR, int(writes), int(sectors_written) * _SECTOR)
    return found


def read_interfaces() -> dict[str, Traffic]:
    """The network interfaces' counters by name; bytes of a name that are not UTF-8 become replacement characters."""
    return {
        printable(name): Traffic(
            rx_bytes=each.bytes_recv,
            rx_packets=each.packets_recv,
            rx_errors=each.errin,
            rx_dropped=each.dropin,
            tx_bytes=each.bytes_sent,
            tx_packets=each.packets_sent,
            tx_errors=each.errout,
            tx_dropped=each.dropout,
        )
        for name, each in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


def io_between(before: Operations | None, after: Operations | None, seconds: float) -> DiskIo:
    """What a device did in a second, in the mean; nothing where it is new."""
    if before is None or after is None:
        return _IDLE
    return DiskIo(
        rate(before.read_bytes, after.read_bytes, seconds),
        rate(before.write_bytes, after.write_bytes, seconds),
        rate(before.reads, after.reads, seconds),
        rate(before.writes, after.writes, seconds),
    )


def rate(before: int, after: int, seconds: float) -> float:
    """Units a second; 0 where the counter has begun anew."""
    return round((after - before) / seconds, 1) if after >= before and seconds > 0 else 0.0


_IDLE = DiskIo(0.0, 0.0, 0.0, 0.0)
