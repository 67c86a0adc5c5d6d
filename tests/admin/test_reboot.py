"""Rebooting is refused clearly where it cannot work; no test here may reboot anything."""

from pathlib import Path

import pytest

from tests.support.server import TOKEN, Server, running

IN_A_CONTAINER = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def refused(server: Server, *arguments: str) -> str:
    answer = server.curl(*arguments, path=f"/reboot?token={TOKEN}")
    assert answer.status == 400
    return str(answer.json["Error-Message"])


def test_with_apply_off(tmp_path: Path) -> None:
    with running(tmp_path / "server") as server:
        assert refused(server) == "Reboot is not available: [admin] apply is off"
        assert server.get("/backup").status == 404
        assert ",reboot.get," in (server.admin / "log" / "jidoteki-audit.log").read_text()


@pytest.mark.skipif(not IN_A_CONTAINER, reason="would be accepted outside of a container")
def test_in_a_container_and_to_a_prefetch(tmp_path: Path) -> None:
    marker = tmp_path / "rebooted"
    config = f'[admin]\napply = true\nreboot_command = ["/usr/bin/touch", "{marker}"]\n'
    with running(tmp_path / "server", config) as server:
        assert refused(server) == "Reboot is not available: running in a container"
        for header in ("Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch"):
            assert "prefetch" in refused(server, "-H", header)
        assert server.get("/backup").status == 404
        assert not marker.exists()
