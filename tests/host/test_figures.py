"""The figures beside those of the system's own tools, and the machines that are not at hand as trees of files."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from appliance.host import figures as figures_module
from appliance.host.figures import CpuMeter, CpuUse, Figures, OsRelease, family, parse_os_release
from appliance.host.hardware import HardwareFacts, read_facts
from appliance.process.run import ProcessRunner
from appliance.threads import Threads

reactor: Any = global_reactor


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_summary() -> None:
    summary = Figures().summary()
    assert summary.hostname == said("uname", "-n")
    assert summary.kernel == said("uname", "-r")
    assert summary.cpu_count == int(said("nproc", "--all"))
    release = said("sh", "-c", '. /etc/os-release; printf "%s|%s|%s" "$PRETTY_NAME" "$ID" "$VERSION_ID"')
    assert f"{summary.os}|{summary.platform}|{summary.platform_version}" == release
    assert abs(summary.boot_time - psutil.boot_time()) <= 1
    assert abs(summary.uptime - float(Path("/proc/uptime").read_text().split()[0])) < 2
    assert all(abs(ours - theirs) < 0.5 for ours, theirs in zip(summary.load_average, os.getloadavg(), strict=True))


def test_memory() -> None:
    memory = Figures().memory()
    rows = {line.split()[0]: list(map(int, line.split()[1:])) for line in said("free", "-b").splitlines()[1:]}
    assert memory.total == rows["Mem:"][0] == psutil.virtual_memory().total
    assert (memory.swap_total, memory.swap_used + memory.swap_free) == (rows["Swap:"][0], rows["Swap:"][0])
    assert abs(memory.available - rows["Mem:"][5]) < memory.total / 50
    assert memory.used == memory.total - memory.available
    assert abs(memory.used_percent - psutil.virtual_memory().percent) < 2
    assert 0 <= memory.free <= memory.available


def test_memory_with_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\nSwapCached:        7 kB\n"
        "SwapTotal:       400 kB\nSwapFree:        100 kB\nHugePages_Total:       0\n"
    )
    monkeypatch.setattr(figures_module, "_MEMINFO", str(meminfo))
    memory = Figures().memory()
    assert (memory.used, memory.used_percent) == (750 * 1024, 75.0)
    assert (memory.swap_total, memory.swap_used, memory.swap_free) == (400 * 1024, 300 * 1024, 100 * 1024)
    assert memory.swap_used_percent == 75.0


def test_os_release_is_read_again_when_it_changes(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "usr"
    release = OsRelease([str(first), str(second)])
    assert release.fields() == {}
    second.write_text("ID=one\n")
    assert release.fields() == {"ID": "one"}
    first.write_text("ID=two\n")
    assert release.fields() == {"ID": "two"}
    first.write_text("ID=three\n")
    os.utime(first, ns=(1, 1))
    assert release.fields() == {"ID": "three"}


def test_os_release_is_read_as_a_shell_reads_it() -> None:
    text = '# comment\nID=debian\nPRETTY_NAME="A \'quoted\' \\"name\\""\nB=\'x y\'\nbroken="\nnothing\n'
    assert parse_os_release(text) == {"ID": "debian", "PRETTY_NAME": "A 'quoted' \"name\"", "B": "x y"}


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "debian"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "rhel"),
        ({"ID": "rhel", "ID_LIKE": "fedora"}, "rhel"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "suse"),
        ({"ID": "own", "ID_LIKE": "strange"}, "strange"),
        ({"ID": "own"}, "own"),
        ({}, "linux"),
    ],
)
def test_family(release: dict[str, str], expected: str) -> None:
    assert family(release) == expected


class Times(NamedTuple):
    """What psutil tells of a processor."""

    user: float
    idle: float
    nice: float = 0.0
    system: float = 0.0
    iowait: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0


class CpuMeterTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.times = [Times(100, 100), Times(50, 150)]
        self.readings = 0

        def cpu_times(percpu: bool) -> list[Times]:
            self.readings += 1
            return list(self.times)

        self.patch(psutil, "cpu_times", cpu_times)
        self.meter = CpuMeter(self.clock)

    def ask(self) -> "Deferred[CpuUse]":
        return Deferred.fromCoroutine(self.meter.use())

    def work(self, *spent: tuple[float, float]) -> None:
        """Each processor is busy and idle for so long."""
        self.times = [
            times._replace(user=times.user + busy, idle=times.idle + idle)
            for times, (busy, idle) in zip(self.times, spent, strict=True)
        ]

    def test_since_the_start(self) -> None:
        self.meter.start()
        self.clock.advance(4)
        self.work((3, 1), (1, 3))
        self.assertEqual(self.successResultOf(self.ask()), CpuUse(50.0, (75.0, 25.0)))

    def test_the_first_waits_for_a_window(self) -> None:
        asked = self.ask()
        self.assertNoResult(asked)
        self.work((0.2, 0), (0, 0.2))
        self.clock.advance(figures_module.WINDOW_SECONDS)
        self.assertEqual(self.successResultOf(asked), CpuUse(50.0, (100.0, 0.0)))

    def test_one_measurement_for_all(self) -> None:
        asked = [self.ask() for _ in range(20)]
        asked[0].cancel()
        self.failureResultOf(asked.pop(0))
        self.work((0.1, 0.1), (0, 0.2))
        self.clock.advance(figures_module.WINDOW_SECONDS)
        self.assertEqual({self.successResultOf(each) for each in asked}, {CpuUse(25.0, (50.0, 0.0))})
        self.assertEqual(self.readings, 2)
        self.clock.advance(0.9)
        self.successResultOf(self.ask())
        self.assertEqual(self.readings, 2)
        self.work((1, 0), (1, 0))
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(self.ask()), CpuUse(100.0, (100.0, 100.0)))
        self.assertEqual(self.readings, 3)

    def test_a_long_pause_does_not_count(self) -> None:
        self.meter.start()
        self.work((0, 3600), (0, 3600))
        self.clock.advance(3600)
        asked = self.ask()
        self.assertNoResult(asked)
        self.work((0.2, 0), (0.2, 0))
        self.clock.advance(figures_module.WINDOW_SECONDS)
        self.assertEqual(self.successResultOf(asked), CpuUse(100.0, (100.0, 100.0)))

    def test_a_clock_set_back(self) -> None:
        self.meter.start()
        self.clock.rightNow -= 500
        asked = self.ask()
        self.work((0, 0.2), (0, 0.2))
        self.clock.advance(figures_module.WINDOW_SECONDS)
        self.assertEqual(self.successResultOf(asked), CpuUse(0.0, (0.0, 0.0)))

    def test_counters_that_go_backwards(self) -> None:
        self.meter.start()
        self.clock.advance(2)
        self.work((-1, 3), (3, -1))
        self.assertEqual(self.successResultOf(self.ask()).per_core, (0.0, 100.0))

    def test_a_processor_that_is_switched_on(self) -> None:
        self.meter.start()
        self.clock.advance(2)
        self.times.append(Times(0, 0))
        asked = self.ask()
        self.assertNoResult(asked)
        self.work((0.2, 0), (0, 0.2), (0, 0.2))
        self.clock.advance(figures_module.WINDOW_SECONDS)
        self.assertEqual(self.successResultOf(asked).per_core, (100.0, 0.0, 0.0))


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def machines() -> Iterator[tuple[dict[str, str], str]]:
    dmi = "sys/class/dmi/id/"
    yield {f"{dmi}sys_vendor": "QEMU\n", f"{dmi}product_name": "Standard PC (Q35 + ICH9, 2009)\n"}, "qemu"
    yield {f"{dmi}sys_vendor": "innotek GmbH\n", f"{dmi}product_name": "VirtualBox\n"}, "oracle"
    yield {f"{dmi}sys_vendor": "VMware, Inc.\n", f"{dmi}product_name": "VMware20,1\n"}, "vmware"
    yield {f"{dmi}sys_vendor": "Microsoft Corporation\n", f"{dmi}product_name": "Virtual Machine\n"}, "microsoft"
    yield {f"{dmi}sys_vendor": "Microsoft Corporation\n", f"{dmi}product_name": "Surface\n"}, "none"
    yield {f"{dmi}sys_vendor": "Dell Inc.\n", "proc/cpuinfo": "flags\t\t: fpu vme\n"}, "none"
    yield {"proc/cpuinfo": "flags\t\t: fpu hypervisor vme\n"}, "vm-other"
    yield {"sys/hypervisor/type": "xen\n"}, "xen"
    yield {"run/systemd/container": "lxc\n", f"{dmi}sys_vendor": "QEMU\n"}, "lxc"
    yield {".dockerenv": ""}, "docker"
    yield {}, "none"


@pytest.mark.parametrize(("files", "expected"), list(machines()))
def test_virtualization_without_the_tool(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert read_facts(tree(tmp_path, files)).virtualization == expected


def test_facts_of_a_pc(tmp_path: Path) -> None:
    dmi = "sys/class/dmi/id/"
    cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3GHz\nflags\t\t: fpu\n\nprocessor\t: 1\nmodel name\t: Other\n"
    files = {f"{dmi}sys_vendor": "Dell Inc.\n", f"{dmi}product_name": "R740\n", f"{dmi}product_serial": "ABC1\n"}
    facts = read_facts(tree(tmp_path, {**files, "proc/cpuinfo": cpuinfo}))
    assert (facts.vendor, facts.product, facts.serial, facts.cpu_model) == (
        "Dell Inc.",
        "R740",
        "ABC1",
        "Some CPU @ 3GHz",
    )


def test_facts_of_a_board(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 38.40\nFeatures\t: fp\nCPU part\t: 0xd03\n\nRevision\t: a02082\n",
        "proc/device-tree/model": "Raspberry Pi 3 Model B Rev 1.2\0",
        "proc/device-tree/serial-number": "00000000abcdef\0",
    }
    facts = read_facts(tree(tmp_path, files))
    assert (facts.vendor, facts.product, facts.serial) == (None, "Raspberry Pi 3 Model B Rev 1.2", "00000000abcdef")
    assert facts.cpu_model == os.uname().machine


class HardwareTests(TestCase):
    def setUp(self) -> None:
        self.runner = ProcessRunner(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.runner.stop()))

    async def test_this_machine(self) -> None:
        found = HardwareFacts(self.runner, Threads(reactor))
        hardware = await found.hardware()
        detected = subprocess.run(["systemd-detect-virt"], capture_output=True, text=True, check=False).stdout.strip()
        self.assertEqual(hardware.virtualization, detected)
        self.assertEqual(hardware.role, "host" if detected == "none" else "guest")
        self.assertEqual((hardware.hostname, hardware.architecture), (said("uname", "-n"), said("uname", "-m")))
        self.assertEqual(hardware.kernel_version, said("uname", "-r"))

    async def test_without_the_tool(self) -> None:
        def missing(argv: list[str], **options: object) -> Any:
            return run(["no-such-program-at-all"])

        run = self.runner.run
        self.patch(self.runner, "run", missing)
        root = tree(Path(self.mktemp()), {"sys/hypervisor/type": "xen\n"})
        found = HardwareFacts(self.runner, Threads(reactor), root)
        self.assertEqual((await found.hardware()).virtualization, "xen")
