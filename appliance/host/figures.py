"""Live figures of the machine: what it runs, how busy its processors are, how full its memory is.

Everything here is a few reads of /proc, cheap enough for the reactor.
"""

import os
import shlex
import time
from collections.abc import Mapping, Sequence

import msgspec
import psutil
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from appliance.host.shared import Shared

SHARED_SECONDS = 1.0
WINDOW_SECONDS = 0.2
LONGEST_WINDOW_SECONDS = 15.0

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")  # os-release(5)
_MEMINFO = "/proc/meminfo"
_READ_LIMIT = 64 * 1024
_FAMILIES = ("debian", "rhel", "fedora", "suse", "arch", "alpine", "gentoo", "slackware")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """
    The machine in short. `os` is the distribution's full name, `platform` its id (`debian`, `ubuntu`),
    `platform_family` the one it descends from, `kernel` its release, `uptime` in seconds, `boot_time` in seconds since
    1970, `load_average` that of 1, 5 and 15 minutes.
    """

    hostname: str
    os: str
    platform: str
    platform_family: str
    platform_version: str
    kernel: str
    uptime: int
    boot_time: int
    load_average: tuple[float, float, float]
    cpu_count: int


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and swap in bytes, as free(1) counts: `used` is what programs could not have."""

    total: int
    free: int
    used: int
    available: int
    used_percent: float
    swap_total: int
    swap_used: int
    swap_free: int
    swap_used_percent: float


class CpuUse(msgspec.Struct, frozen=True):
    """How busy the processors were, in percent: all together, and each."""

    total: float
    per_core: tuple[float, ...]


class OsRelease:
    """The distribution, read again when its file changes."""

    def __init__(self, paths: Sequence[str] = _OS_RELEASE) -> None:
        self._paths = paths
        self._stamp: tuple[int, int] | None = None
        self._fields: Mapping[str, str] = {}

    def fields(self) -> Mapping[str, str]:
        """The assignments of os-release(5); none where there is no such file."""
        for path in self._paths:
            try:
                found = os.stat(path)
                stamp = (found.st_ino, found.st_mtime_ns)
                if stamp != self._stamp:
                    self._fields = parse_os_release(_read(path).decode("utf-8", "replace"))
                    self._stamp = stamp
            except OSError:
                continue
            return self._fields
        return {}


class Figures:
    """Answers from /proc at the moment of the question. Raises OSError where /proc is missing."""

    def __init__(self) -> None:
        self._release = OsRelease()

    def summary(self) -> Summary:
        """What the machine is and since when it runs."""
        release = self._release.fields()
        machine = os.uname()
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        return Summary(
            hostname=machine.nodename,
            os=release.get("PRETTY_NAME") or release.get("NAME") or "Linux",
            platform=release.get("ID", "linux"),
            platform_family=family(release),
            platform_version=release.get("VERSION_ID", ""),
            kernel=machine.release,
            uptime=int(uptime),
            boot_time=int(time.time() - uptime),
            load_average=load_average(),
            cpu_count=os.cpu_count() or 1,
        )

    def memory(self) -> Memory:
        """How much memory there is and how much of it is in use.

        Read here and not through psutil, whose two calls cost ten times as much.
        """
        kilobytes = _meminfo(_read(_MEMINFO))
        total, available = kilobytes[b"MemTotal"], kilobytes[b"MemAvailable"]
        swap_total, swap_free = kilobytes[b"SwapTotal"], kilobytes[b"SwapFree"]
        return Memory(
            total=total * 1024,
            free=kilobytes[b"MemFree"] * 1024,
            used=(total - available) * 1024,
            available=available * 1024,
            used_percent=_percent(total - available, total),
            swap_total=swap_total * 1024,
            swap_used=(swap_total - swap_free) * 1024,
            swap_free=swap_free * 1024,
            swap_used_percent=_percent(swap_total - swap_free, swap_total),
        )


class CpuMeter:
    """
    Measures how busy the processors are, once for everybody who asks within a second.

    A measurement covers the time since the one before it, or where that is long ago a window of 0.2 s that begins now:
    an average over an idle night would say nothing about this moment.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._measuring = Shared(self._measure)
        self._reading: CpuReading | None = None
        self._use: CpuUse | None = None

    def start(self) -> None:
        """Take the first reading, so that the first question need not wait."""
        self._reading = self._read()

    async def use(self) -> CpuUse:
        """The use of late, at most 1 s old."""
        if self._use is not None and self._reading is not None and 0 <= self._age(self._reading) <= SHARED_SECONDS:
            return self._use
        return await self._measuring.result()

    async def _measure(self) -> CpuUse:
        before = self._reading
        if before is None or not 0 <= self._age(before) <= LONGEST_WINDOW_SECONDS:
            before = self._read()
        while True:
            if self._age(before) < WINDOW_SECONDS:
                await deferLater(self._clock, WINDOW_SECONDS - self._age(before))
            after = self._reading = self._read()
            if len(after.cores) == len(before.cores):
                break
            before = after  # a processor was switched on or off: these two cannot be compared
        self._use = cpu_use(before, after)
        return self._use

    def _age(self, reading: "CpuReading") -> float:
        return self._clock.seconds() - reading.at

    def _read(self) -> "CpuReading":
        return read_processors(self._clock.seconds())


class CpuReading(msgspec.Struct, frozen=True):
    """The busy and the whole time of each processor, in seconds since it was started."""

    at: float
    cores: tuple[tuple[float, float], ...]


def read_processors(now: float) -> CpuReading:
    """psutil's times in seconds; guests' time is part of user and nice (proc(5), stat)."""
    cores = []
    for times in psutil.cpu_times(percpu=True):
        idle = times.idle + times.iowait
        busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
        cores.append((busy, busy + idle))
    return CpuReading(now, tuple(cores))


def cpu_use(before: CpuReading, after: CpuReading) -> CpuUse:
    """What happened between two readings of the same processors. Raises ValueError for different ones."""
    spent = [
        (busy_now - busy, all_now - whole)
        for (busy, whole), (busy_now, all_now) in zip(before.cores, after.cores, strict=True)
    ]
    return CpuUse(
        _percent(sum(busy for busy, _ in spent), sum(whole for _, whole in spent)),
        tuple(_percent(busy, whole) for busy, whole in spent),
    )


def load_average() -> tuple[float, float, float]:
    """The load of 1, 5 and 15 minutes, as exact as /proc/loadavg."""
    one, five, fifteen = os.getloadavg()
    return round(one, 2), round(five, 2), round(fifteen, 2)


def parse_os_release(text: str) -> dict[str, str]:
    """Take os-release(5) apart: assignments as a shell reads them. Lines that are none are left out."""
    fields = {}
    for line in text.splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            try:
                fields[name] = "".join(shlex.split(value))
            except ValueError:
                continue  # a quote that is not closed
    return fields


def family(release: Mapping[str, str]) -> str:
    """The distribution that this one descends from: the first of ID and ID_LIKE that has descendants."""
    names = [release.get("ID", "linux"), *release.get("ID_LIKE", "").split()]
    return next((name for name in names if name in _FAMILIES), names[-1])


def _percent(part: float, whole: float) -> float:
    """Between 0 and 100: counters of idle time may go backwards (proc(5), stat)."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 1) if whole > 0 else 0.0


def _meminfo(content: bytes) -> dict[bytes, int]:
    found = {}
    for name in (b"MemTotal", b"MemFree", b"MemAvailable", b"SwapTotal", b"SwapFree"):
        begin = content.index(name + b":") + len(name) + 1
        found[name] = int(content[begin : content.index(b"kB", begin)])
    return found


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_LIMIT)
    finally:
        os.close(descriptor)
