"""
The WebSockets under load, over TLS on the loopback interface of a network namespace. Needs root.

metrics: so many clients at one sample a second. The server's CPU time over the time of the wall, in per cent of one
core; its memory (VmRSS of proc(5)) for each client; whether every client saw the same timestamps.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import ROOT, Unusable, cpu_seconds, load, memory
from tests.support.live_socket import live_socket
from tests.support.machine import SystemServer, system_server

LIMITS = "websocket_limit = 100000\n[server]\nmax_connections = 20000\nmax_connections_per_address = 20000\n"
CPU_GOAL = 15.0
MEMORY_GOAL = 60_000


@contextmanager
def server(system: str = "") -> Iterator[SystemServer]:
    """The real server in a machine of its own, without the limits that protect it from one address.

    `system` is TOML of the table [system].
    """
    with tempfile.TemporaryDirectory() as folder, system_server(Path(folder), system + LIMITS) as found:
        yield found


def metrics(given: argparse.Namespace) -> bool:
    """Many clients of /ws/metrics; tells whether the goals are met."""
    with server() as found:
        with live_socket(found, "/ws/metrics"):
            pass  # the first one loads what all share
        before = memory(found.server.pid, "VmRSS")
        clients = subprocess.Popen(
            [
                *found.machine.prefix,
                *(sys.executable, str(ROOT / "bench" / "live_clients.py")),
                *(str(found.server.port), str(found.server.certificate)),
                *("--count", str(given.clients), "--seconds", str(given.seconds)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with clients:
            assert clients.stdin is not None and clients.stdout is not None
            print(found.tokens["reader"], file=clients.stdin, flush=True)
            if clients.stdout.readline() != "ready\n":
                raise Unusable("the clients could not connect")
            began = cpu_seconds(found.server.pid)
            told = json.loads(clients.stdout.readline())
            spent = cpu_seconds(found.server.pid) - began
            each = (memory(found.server.pid, "VmRSS") - before) / given.clients
            clients.stdin.close()
    cpu = 100 * spent / given.seconds
    # Those of the first and the last moment may have come to some before and to others after it.
    whole = [count for _, count in sorted(told["seen"].items())][1:-1]
    same = bool(whole) and set(whole) == {given.clients}
    rate = told["bytes"] / given.clients / given.seconds
    print(f"{given.clients} clients, {len(whole)} samples, {rate / 1000:.1f} kB/s each; load {load()}")
    print(f"  CPU      {cpu:5.1f} % of a core (goal {CPU_GOAL:g} %)")
    print(f"  memory   {each / 1000:5.1f} kB a client (goal {MEMORY_GOAL / 1000:g} kB)")
    print(f"  samples  {'the same for all' if same else f'NOT the same for all: {whole}'}")
    return same and cpu < CPU_GOAL and each <= MEMORY_GOAL


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], bool]] = {"metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=[*MEASUREMENTS, "all"], nargs="?", default="all")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the server and its machine end with us
    wanted = list(MEASUREMENTS) if given.measurement == "all" else [given.measurement]
    met = [MEASUREMENTS[name](given) for name in wanted]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
