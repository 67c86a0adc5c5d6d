"""The figures of the machine over real HTTPS, beside those of the machine's own tools."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import SystemServer, system_server

PATHS = ("summary", "cpu", "memory", "hardware")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("system")) as server:
        yield server


def said(server: SystemServer, *argv: str) -> str:
    return server.machine.run(*argv).stdout.strip()


def test_summary(server: SystemServer) -> None:
    before = time.time()
    data = server.data("/system/summary")
    assert data.keys() == {
        *("hostname", "os", "platform", "platform_family", "platform_version", "kernel", "kernel_version"),
        *("uptime", "boot_time", "load_average", "cpu_count"),
    }
    release = said(server, "sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME|$ID|$VERSION_ID"')
    assert f"{data['os']}|{data['platform']}|{data['platform_version']}" == release
    assert data["hostname"] == said(server, "uname", "-n")
    assert data["kernel"] == data["kernel_version"] == said(server, "uname", "-r")
    assert data["cpu_count"] == int(said(server, "nproc", "--all"))
    uptime = float(said(server, "cat", "/proc/uptime").split()[0])
    assert uptime - (time.time() - before) - 2 <= data["uptime"] <= uptime
    stat = next(line for line in said(server, "cat", "/proc/stat").splitlines() if line.startswith("btime "))
    assert abs(data["boot_time"] - int(stat.split()[1])) <= 1
    assert len(data["load_average"]) == 3
    assert all(isinstance(each, float) and each >= 0 for each in data["load_average"])


def test_a_host_that_is_given_another_name_and_another_release(server: SystemServer) -> None:
    """What the answer says is looked up now, and not when the server was started."""
    os_release = said(server, "cat", "/etc/os-release")
    server.machine.run("rm", "/etc/os-release")  # a link out of the private /etc
    server.machine.run("tee", "/etc/os-release", stdin='ID=own\nID_LIKE="ubuntu debian"\nPRETTY_NAME="Ünder 7"\n')
    try:
        data = server.data("/system/summary")
        assert (data["os"], data["platform"], data["platform_family"]) == ("Ünder 7", "own", "debian")
    finally:
        server.machine.run("tee", "/etc/os-release", stdin=os_release)


def test_cpu(server: SystemServer) -> None:
    data = server.data("/system/cpu")
    assert data.keys() == {"model_name", "cores", "usage", "per_core", "load1", "load5", "load15"}
    listed = json.loads(said(server, "lscpu", "-J"))["lscpu"]

    def fields(rows: list[dict[str, object]]) -> Iterator[tuple[str, object]]:
        for row in rows:
            yield str(row["field"]).rstrip(":"), row["data"]
            yield from fields(row.get("children", []))  # type: ignore[arg-type]

    shown = dict(fields(listed))
    assert data["model_name"] == shown["Model name"]
    assert data["cores"] == len(data["per_core"]) == int(said(server, "nproc"))
    assert all(0 <= each <= 100 for each in [data["usage"], *data["per_core"]])
    assert all(isinstance(data[name], float) for name in ("load1", "load5", "load15"))


def test_a_processor_that_is_busy_is_shown_so(server: SystemServer) -> None:
    server.data("/system/cpu")
    loop = "timeout 1 sh -c 'while :; do :; done' & "
    server.machine.run("sh", "-c", loop * int(said(server, "nproc")) + "wait")
    data = server.data("/system/cpu")
    assert data["usage"] > 50
    assert max(data["per_core"]) > 50


def test_memory(server: SystemServer) -> None:
    data = server.data("/system/memory")
    assert data.keys() == {
        *("total", "free", "used", "available", "used_percent"),
        *("swap_total", "swap_used", "swap_free", "swap_used_percent"),
    }
    head, *lines = said(server, "free", "-b").splitlines()
    rows = {name: dict(zip(head.split(), map(int, numbers), strict=False)) for name, *numbers in map(str.split, lines)}
    memory, swap = rows["Mem:"], rows["Swap:"]
    assert data["total"] == memory["total"]
    assert data["swap_total"] == swap["total"] == data["swap_used"] + data["swap_free"]
    assert data["used"] + data["available"] == data["total"]
    assert data["free"] <= data["available"]
    for name in ("free", "available"):  # others come and go meanwhile
        assert abs(data[name] - memory[name]) < memory["total"] / 10
    assert data["used_percent"] == round(100 * data["used"] / data["total"], 1)


def test_hardware(server: SystemServer) -> None:
    data = server.data("/system/hardware")
    assert data.keys() >= {"hostname", "architecture", "virtualization", "role", "kernel_version", "serial"}
    assert data["hostname"] == said(server, "uname", "-n")
    assert data["architecture"] == said(server, "uname", "-m")
    assert data["kernel_version"] == said(server, "uname", "-r")
    detected = server.machine.run("systemd-detect-virt", check=False).stdout.strip()
    assert data["virtualization"] == detected
    assert data["role"] == ("host" if detected == "none" else "guest")
    assert data["cpu_count"] == int(said(server, "nproc", "--all"))
    serial = Path("/sys/class/dmi/id/product_serial")
    assert data["serial"] == (serial.read_text().strip() or None if serial.exists() else None)


def test_the_serial_number_is_for_administrators(server: SystemServer) -> None:
    assert "serial" not in server.data("/system/hardware", who="reader")


@pytest.mark.parametrize("name", PATHS)
def test_who_may_ask_and_how(server: SystemServer, name: str) -> None:
    path = f"/system/{name}"
    assert server.data(path, who="reader")
    answer = server.api("GET", path, who=None)
    assert (answer.status, answer.json["error"]["code"]) == (401, "UNAUTHORIZED")
    answer = server.api("DELETE", path)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
