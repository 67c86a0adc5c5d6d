"""Rebooting is refused clearly where it cannot work; no test here may reboot anything."""

import errno
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from appliance.admin.power import Power
from appliance.background import Background
from appliance.process.errors import JobError
from appliance.process.run import Finished
from appliance.settings import Settings
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


class Nothing:
    """Backups and scripts in one: a backup fails with `error`, scripts are only noted."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.ran: list[str] = []

    async def start(self, owner: str) -> Any:
        raise self.error

    async def run(self, command: str) -> Finished:
        self.ran.append(command)
        return Finished(0, None, b"", b"", timed_out=False, truncated=False)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), JobError("cannot be recorded")])
def test_a_full_disk_does_not_keep_it_from_rebooting(error: Exception) -> None:
    nothing: Any = Nothing(error)
    power = Power(Settings(), nothing, nothing, nothing, Background())
    done: list[object] = []
    _ = ensureDeferred(power._back_up_and_reboot("")).addBoth(done.append)
    assert (nothing.ran, done) == (["reboot"], [None])
