"""The kernel's counters, beside what the kernel's files say."""

from pathlib import Path

import psutil
import pytest

from appliance.host.metrics.counters import read_counters, read_devices, read_interfaces


def test_devices_are_counted_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "diskstats"
    path.write_text(
        "   8       0 sda 100 1 2000 3 40 5 600 7 0 9 10 0 0 0 0 11 12\n"
        " 259       1 nvme0n1p1 1 0 8 0 2 0 16 0 0 0 0\n"
        "   8       1 sda1 5 0 10 0 6 0 12 0 0 0 0 1 2 3 4\n"
    )
    found = read_devices(str(path))
    assert set(found) == {"8:0", "259:1", "8:1"}
    assert (found["8:0"].reads, found["8:0"].read_bytes) == (100, 2000 * 512)
    assert (found["8:0"].writes, found["8:0"].write_bytes) == (40, 600 * 512)


def test_a_kernel_that_does_not_count_devices(tmp_path: Path) -> None:
    assert read_devices(str(tmp_path / "missing")) == {}


def test_interfaces_are_those_of_the_kernel() -> None:
    names = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    assert set(read_interfaces()) == names


def test_a_name_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = psutil.net_io_counters(pernic=True)["lo"]
    name = b"x\xff".decode("utf-8", "surrogateescape")
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: {name: counters})
    assert list(read_interfaces()) == ["x\N{REPLACEMENT CHARACTER}"]


def test_all_at_once() -> None:
    found = read_counters(5.0)
    assert found.at == found.processors.at == 5.0
    assert found.processors.cores and found.interfaces
