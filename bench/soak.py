"""
A soak: WebSocket clients come and go for minutes, and afterwards the server must be as it was before. Needs root.

What is looked at: open descriptors, memory (VmRSS of proc(5)) and child processes. The first look is after a warm-up
of the same kind, since what is needed by the first client stays loaded. Before it, requests are denied, each of which
is written to the audit log, until SQLite's cache of pages (2 MB) is full: terminals are written there as well. What is
meant to grow and is not full after ten minutes is the history of figures: about 40 kB a minute, for an hour.

Memory may have grown by --allow MB. RssAnon (proc(5)) of it is the server's own; the rest are pages of libraries, which
the kernel drops and reads again as it likes.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.live import server
from bench.measure import ROOT, Unusable, load, memory
from tests.support.machine import SystemServer

TERMINALS = "terminals_per_user = 1000\nterminal_reattach = 10\n"
DENIALS = 8000
WARM_UP = 90.0
SETTLE = 75.0
"""Longer than the server waits for peers that have gone without a word, and than it keeps free pages of its heap."""


@dataclass(frozen=True)
class State:
    """What the server holds."""

    descriptors: int
    memory: int
    own_memory: int
    children: int


def state(pid: int) -> State:
    """As it is now."""
    return State(
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        memory(pid, "VmRSS"),
        memory(pid, "RssAnon"),
        len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
    )


def fill_page_cache(found: SystemServer) -> None:
    """Have so much written to the audit log that SQLite keeps no more of it in memory than it does now."""
    denied = ("POST", "/api/v1/users", [f"Authorization: Bearer {found.tokens['reader']}"])
    if {answer.status for answer in found.many([denied] * DENIALS)} != {403}:
        raise Unusable("a plain user may make users")


def crowd(found: SystemServer, count: int, seconds: float) -> dict[str, int]:
    """Let clients come and go; what they did."""
    finished = subprocess.run(
        [
            *found.machine.prefix,
            *(sys.executable, str(ROOT / "bench" / "soak_clients.py")),
            *(str(found.server.port), str(found.server.certificate)),
            *("--count", str(count), "--seconds", str(seconds)),
        ],
        input=found.tokens["reader"] + "\n",
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if finished.returncode != 0:
        raise Unusable(f"the clients failed:\n{finished.stderr}")
    told: dict[str, int] = json.loads(finished.stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--allow", type=float, default=4, help="MB that memory may have grown (default 4)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the server and its machine end with us
    with server(TERMINALS) as found:
        fill_page_cache(found)
        crowd(found, given.clients, WARM_UP)
        time.sleep(SETTLE)
        before = state(found.server.pid)
        told = crowd(found, given.clients, 60 * given.minutes)
        time.sleep(SETTLE)
        after = state(found.server.pid)
        log = found.server.log.read_text()
        errors = sum(log.count(f'"level":"{level}"') for level in ("error", "critical"))
    print(f"{given.clients} clients for {given.minutes:g} minutes: {told}; load {load()}")
    print(f"  descriptors  {before.descriptors} before, {after.descriptors} after")
    print(f"  memory       {before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} MB after")
    print(f"  its own      {before.own_memory / 1e6:.1f} MB before, {after.own_memory / 1e6:.1f} MB after")
    print(f"  children     {before.children} before, {after.children} after")
    print(f"  errors in the log: {errors}")
    grown = (after.memory - before.memory) / 1e6
    same = (before.descriptors, before.children) == (after.descriptors, after.children)
    unexpected = [what for what in told if what.startswith(("failed", "a wrong"))]
    sys.exit(0 if same and grown <= given.allow and not errors and not unexpected else 1)


if __name__ == "__main__":
    main()
