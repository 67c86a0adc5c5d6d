"""
A start: the time from exec to the first answer over TLS, and the memory at rest.

Each round starts the server twice: over no state at all, where it makes its certificate, database and folders,
and over the state that this left, with a token set. The first request is GET version, which a server without a
token refuses and notes in the audit log. Over the existing state a POST setup follows, which is noted as well: the
longest GET version meanwhile, and the memory after it. Memory is VmRSS of proc(5) in units of 10^6 bytes, time is
that of the wall. One start before the first round has Python compile what is not compiled yet.
"""

import argparse
import http.client
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import (
    API,
    HOST,
    ROOT,
    START_SECONDS,
    TOKEN,
    Unusable,
    authenticated,
    free_port,
    launched,
    load,
    memory,
    spread,
)

MB = 1e6
VERSION = f"{API}/version"
PAUSE = 0.005


@dataclass
class Start:
    """One start: seconds to the first answer, bytes at rest."""

    answered: float
    resting: int


@dataclass
class Change:
    """The first change: its own seconds, those of each GET version meanwhile, bytes a while after it."""

    took: float
    others: list[float]
    resting: int


@dataclass
class Running:
    """A server that has given its first answer, `answered` seconds after its exec."""

    pid: int
    client: http.client.HTTPSConnection
    answered: float
    port: int


def main() -> int:
    """Measure and print; 1 where a limit given is exceeded, 2 where it cannot be measured."""
    options = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
            return report(options, Path(folder))
    except (Unusable, OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with two starts (default 5)")
    parser.add_argument("--rest", type=float, default=3.0, help="seconds from the answer to VmRSS (default 3)")
    parser.add_argument("--require-seconds", type=float, help="fail where the median start takes longer")
    parser.add_argument("--require-mb", type=float, help="fail where the median memory at rest is higher")
    return parser.parse_args()


def report(options: argparse.Namespace, folder: Path) -> int:
    with started(folder / "compiled", None):
        pass
    before = load()
    fresh: list[Start] = []
    existing: list[Start] = []
    changes: list[Change] = []
    for number in range(options.rounds):
        state = folder / f"state-{number}"
        with started(state, 403) as server:
            fresh.append(rest(server, options.rest))
            set_token(server, "")
        with started(state, 200) as server:
            existing.append(rest(server, options.rest))
            changes.append(first_change(server, options.rest))
    tell("fresh state", fresh)
    tell("existing state", existing)
    print(f"first change: {spread([change.took for change in changes], '.3f')} s")
    print(f"  longest GET version meanwhile {spread([max(change.others) for change in changes], '.3f')} s")
    print(f"  VmRSS {options.rest:g} s later {spread([change.resting / MB for change in changes], '.1f')} MB")
    print(f"load before {before}, after {load()}")
    starts = fresh + existing
    return int(
        exceeds(options.require_seconds, [start.answered for start in starts])
        or exceeds(options.require_mb, [start.resting / MB for start in starts])
    )


@contextmanager
def started(state: Path, expected: int | None) -> Iterator[Running]:
    """The server over `state`, once it has answered GET version with the status `expected`."""
    port, log = free_port(), state.with_suffix(".log")
    twistd = Path(sys.executable).with_name("twistd")
    argv = [
        *("env", "-u", "PYTHONDONTWRITEBYTECODE", str(twistd), "-n", "--pidfile=", "appliance"),
        *("--state", str(state), "--https", f"{HOST}:{port}"),
    ]
    begin = time.perf_counter()
    with launched(argv, log, {"PYTHONPATH": str(ROOT)}) as process:
        client, status = first_answer(process, port, log)
        answered = time.perf_counter() - begin
        if expected not in (None, status):
            raise Unusable(f"GET version is answered with {status}, not {expected}")
        try:
            yield Running(process.pid, client, answered, port)
        finally:
            client.close()


def first_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> tuple[http.client.HTTPSConnection, int]:
    """The connection that was answered first, and the status."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        client = connect(port)
        try:
            client.request("GET", authenticated("GET", VERSION))
            response = client.getresponse()
            response.read()
        except ConnectionError:
            client.close()
            time.sleep(PAUSE)
        else:
            return client, response.status
    raise Unusable(f"no answer on port {port}:\n{log.read_text(errors='replace')[-2000:]}")


def connect(port: int) -> http.client.HTTPSConnection:
    # The server makes its certificate itself, on the way.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(HOST, port, timeout=START_SECONDS, context=context)


def rest(server: Running, seconds: float) -> Start:
    time.sleep(seconds)
    return Start(server.answered, memory(server.pid, "VmRSS"))


def set_token(server: Running, credential: str) -> None:
    client = connect(server.port)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        client.request("POST", f"{API}/setup{credential}", urlencode({"newtoken": TOKEN}), headers)
        response = client.getresponse()
        body = response.read()
    finally:
        client.close()
    if response.status != 200:
        raise Unusable(f"the token could not be set: {response.status} {body!r}")


def first_change(server: Running, seconds: float) -> Change:
    """Set the token again, which is recorded, and go on asking GET version until a while after."""
    others: list[float] = []
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                begin = time.perf_counter()
                server.client.request("GET", authenticated("GET", VERSION))
                response = server.client.getresponse()
                json.loads(response.read())
                others.append(time.perf_counter() - begin)
                time.sleep(PAUSE)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    begin = time.perf_counter()
    try:
        set_token(server, f"?{urlencode({'token': TOKEN})}")
        took = time.perf_counter() - begin
        time.sleep(PAUSE * 20)
    finally:
        stop.set()
        asking.join()
    if failures or not others:
        raise Unusable(f"GET version failed meanwhile: {failures}")
    time.sleep(seconds)
    return Change(took, others, memory(server.pid, "VmRSS"))


def exceeds(limit: float | None, values: list[float]) -> bool:
    return limit is not None and statistics.median(values) > limit


def tell(name: str, starts: list[Start]) -> None:
    print(f"{name}: answered after {spread([start.answered for start in starts])} s")
    print(f"  VmRSS at rest {spread([start.resting / MB for start in starts], '.1f')} MB")


if __name__ == "__main__":
    sys.exit(main())
