"""The server works in `/` with umask 077, wherever and however it was started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.processes import wait_for

ROOT = Path(__file__).resolve().parents[2]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def test_the_server_settles_and_finds_its_pidfile_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=own.pid", "appliance", "--state", "state", "--https", "127.0.0.1:0"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            umask=0o022,
        )
    try:
        wait_for(lambda: b"Serving https" in log.read_bytes() or server.poll() is not None, "the server")
        assert (tmp_path / "own.pid").read_text() == str(server.pid)
        assert os.readlink(f"/proc/{server.pid}/cwd") == "/"
        assert "\nUmask:\t0077\n" in Path(f"/proc/{server.pid}/status").read_text()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == -signal.SIGTERM, log.read_text()
    finally:
        server.kill()
        server.wait()
    assert not (tmp_path / "own.pid").exists()
    assert b"PID file" not in log.read_bytes()
    assert (tmp_path / "state").is_dir()
