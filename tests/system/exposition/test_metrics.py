"""/metrics of the real server over TLS, read by the library's own strict parser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.live_socket import live_socket
from tests.support.machine import SystemServer, system_server

TOKEN = "a-token-for-scraping-only"


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "metrics.token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, token_file: Path) -> Iterator[SystemServer]:
    config = f'[server]\nmetrics_token_file = "{token_file}"\n'
    with system_server(tmp_path_factory.mktemp("server"), config) as server:
        server.tokens["scraper"] = TOKEN
        yield server


def samples(server: SystemServer, who: str = "scraper") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    answer = server.api("GET", "/metrics", who=who, base="")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = text_string_to_metric_families(answer.body.decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def value(found: Any, name: str, **labels: str) -> float:
    number: float = found[name, frozenset(labels.items())]
    return number


def test_what_the_server_has_counted(server: SystemServer) -> None:
    labels = {"surface": "system", "status": "404"}
    server.api("GET", "/nothing")
    before = samples(server)
    server.api("GET", "/nothing")
    with live_socket(server, "/ws/metrics"):
        after = samples(server)
    assert value(after, "appliance_http_requests_total", **labels) == 1 + value(
        before, "appliance_http_requests_total", **labels
    )
    assert value(before, "appliance_websockets") == 0
    assert value(after, "appliance_websockets") == 1
    assert value(after, "appliance_connections") >= 2
    assert value(after, "appliance_connections_refused_total") == 0
    assert value(after, "appliance_reactor_lag_seconds_bucket", le="+Inf") == value(
        after, "appliance_reactor_lag_seconds_count"
    )


def test_the_process_and_the_machine(server: SystemServer) -> None:
    found = samples(server, "admin")
    names = {name for name, _ in found}
    assert value(found, "process_open_fds") > 10
    assert value(found, "process_resident_memory_bytes") > 10_000_000
    assert value(found, "process_cpu_seconds_total") > 0
    assert value(found, "appliance_host_memory_total_bytes") > value(found, "appliance_host_memory_available_bytes") > 0
    assert value(found, "appliance_host_cpu_seconds_total", cpu="0") > 0
    assert value(found, "appliance_host_network_receive_bytes_total", interface="lo") > 0
    size = {
        dict(labels)["mount_point"]: number
        for (name, labels), number in found.items()
        if name == "appliance_host_filesystem_size_bytes"
    }
    assert size["/"] > 0
    assert names >= {"appliance_host_load1", "appliance_host_disk_reads_total", "python_info", "appliance_build_info"}


def test_jobs_are_counted_by_their_end(server: SystemServer) -> None:
    server.server.set_token()
    backup = server.curl("-X", "POST", "-F", "action=START", path="/api/v1/admin/backup?token=yourtoken")
    assert backup.status == 202
    server.server.until("/backup", lambda seen: seen["status"] != "running")
    assert value(samples(server), "appliance_jobs_ended_total", kind="backup", outcome="success") == 1


@pytest.mark.parametrize("who", ["admin", "scraper"])
def test_who_may_read_them(server: SystemServer, who: str) -> None:
    assert server.api("GET", "/metrics", who=who, base="").status == 200


def test_who_may_not(server: SystemServer, token_file: Path) -> None:
    server.tokens.update(wrong=TOKEN + "x", short=TOKEN[:-1], empty="")
    for who, status in ((None, 401), ("wrong", 401), ("short", 401), ("empty", 401), ("reader", 403)):
        answer = server.api("GET", "/metrics", who=who, base="")
        assert answer.status == status
        assert answer.json["error"]["code"] in ("UNAUTHORIZED", "PERMISSION_DENIED")
    assert server.curl(path=f"/metrics?token={TOKEN}").status == 401
    # The scrape token opens nothing else.
    assert server.api("GET", "/system/summary", who="scraper").status == 401
    assert server.api("POST", "/metrics", {}, who="scraper", base="").status == 405


@pytest.mark.parametrize("content", [b"", b"\n", b"too short", b"x" * 5000])
def test_a_file_without_a_good_token_admits_nobody(server: SystemServer, token_file: Path, content: bytes) -> None:
    server.tokens["bad"] = content.decode().strip()
    try:
        token_file.write_bytes(content)
        for who in ("bad", "scraper"):
            assert server.api("GET", "/metrics", who=who, base="").status == 401
        assert server.api("GET", "/metrics", who="admin", base="").status == 200
        token_file.unlink()
        assert server.api("GET", "/metrics", who="scraper", base="").status == 401
    finally:
        token_file.write_text(TOKEN)
    assert server.api("GET", "/metrics", who="scraper", base="").status == 200
