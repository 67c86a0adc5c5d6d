"""
Docker through our API: `docker/ps` with 100 containers over HTTPS beside the daemon's own rate on its socket, and for
how long the reactor is busy at once with all that containers give it to do.

A private Docker and the server run in namespaces of their own. wrk asks the server over keep-alive connections, threads
of this program ask the daemon over as many, in turn. Then, one after the other, with nothing else to do: lists, a log
of 200 MB streamed to a client that keeps up, the end of that log as JSON, a pull, a program that prints 50 MB over the
WebSocket, and a thousand events. Needs root, wrk, docker.io, podman, runc, busybox-static, docker-registry and skopeo.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.busy import Busy, busy_with, watched
from bench.measure import Unusable, cpu_seconds, load, spread
from tests.support.engines import IMAGE, REGISTRY, Engine, engines
from tests.support.live_socket import live_socket
from tests.support.machine import PASSWORD, SystemServer, machine
from tests.support.server import Server

CONTAINERS = 100
LOG = 200 << 20
OUTPUT = 50 << 20
EVENTS = 1000
PS = "/api/v1/docker/ps?all=true"


def main() -> int:
    """Measure and print; 1 where a goal is missed, 2 where it cannot be measured."""
    options = parse_arguments()
    try:
        with ExitStack() as ending:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="bench-containers-")))
            docker = ending.enter_context(engines(folder / "engines"))["docker"]
            busy = watched(folder)
            server = ending.enter_context(serving(folder, docker, busy))
            fill(docker)
            print(f"load before {load()}")
            fast = rates(options, server, docker)
            quiet = options.only_rates or busy_times(server, docker, busy)
            print(f"load after {load()}")
            return 0 if fast and quiet else 1
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each number of connections (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load (default 5)")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 8, 32], help="(default 1 8 32)")
    parser.add_argument("--require", type=float, default=0.7, help="fail below this ratio of the rates (default 0.7)")
    parser.add_argument("--only-rates", action="store_true", help="leave out for how long the reactor is busy")
    return parser.parse_args()


@contextmanager
def serving(folder: Path, docker: Engine, busy: Busy) -> Iterator[SystemServer]:
    """The server in a machine of its own, which notes for how long it is busy."""
    config = f'[system]\nrate_limit_per_minute = 0\ndocker_socket = "{docker.socket}"\n[server]\naccess_log = false\n'
    with machine(folder / "machine") as inside:
        inside.add_user("admin", PASSWORD, "sudo")
        server = Server(folder / "server", config, prefix=inside.prefix, environment=busy.environment)
        server.start()
        try:
            found = SystemServer(inside, server)
            found.log_in("admin")
            yield found
        finally:
            server.stop()


def fill(docker: Engine) -> None:
    for number in range(CONTAINERS):
        labels = {"com.docker.compose.project": "bench", "com.docker.compose.service": f"service-{number}"}
        docker.make(f"bench-{number}", "/bin/sleep", "1000", start=False, Labels=labels)


def rates(options: argparse.Namespace, server: SystemServer, docker: Engine) -> bool:
    """The rates in turn; whether ours is high enough beside the daemon's."""
    good = True
    for connections in options.connections:
        ours, theirs, spent = [], [], []
        wrk(server, connections, 1)
        for _ in range(options.rounds):
            theirs.append(daemon_rate(docker.socket, connections, options.seconds))
            before = cpu_seconds(server.server.pid)
            ours.append(wrk(server, connections, options.seconds))
            spent.append((cpu_seconds(server.server.pid) - before) / ours[-1] / options.seconds * 1000)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        print(f"\n{connections} connections, {CONTAINERS} containers")
        print(f"  daemon on its socket  {spread(theirs, '.0f')} lists/s")
        print(f"  ours over HTTPS       {spread(ours, '.0f')} lists/s")
        print(f"  our CPU time a list   {spread(spent)} ms")
        print(f"  ours / daemon         {spread(ratios)} (goal {options.require:g})")
        good = good and statistics.median(ratios) >= options.require
    return good


def wrk(server: SystemServer, connections: int, seconds: int) -> float:
    """Lists a second through our API."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Authorization: Bearer {server.tokens['admin']}"]
    done = subprocess.run(
        [*server.machine.prefix, *argv, server.server.base + PS], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Unusable(done.stdout)
    return float(done.stdout.partition("Requests/sec:")[2].split()[0])


def daemon_rate(path: Path, connections: int, seconds: int) -> float:
    """Lists a second that the daemon gives by itself."""
    end = time.monotonic() + seconds
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(ask_until(end, path)), daemon=True) for _ in range(connections)
    ]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begin)


def ask_until(end: float, path: Path) -> int:
    """How many lists one connection gets until then."""
    request = b"GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\n\r\n"
    count = 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        answer = connection.makefile("rb", buffering=1 << 20)
        while time.monotonic() < end:
            connection.sendall(request)
            while answer.readline() != b"\r\n":
                pass
            while size := int(answer.readline(), 16):
                answer.read(size + 2)
            answer.readline()
            count += 1
    return count


def busy_times(server: SystemServer, docker: Engine, busy: Busy) -> bool:
    """For how long the reactor is busy with each kind of work; whether it always is for a short time only."""
    log = docker.make("bench-log", "/bin/sh", "-c", f"yes {'a' * 99} | head -c {LOG}")
    docker.wait(log)
    runs = docker.make("bench-runs", "/bin/sleep", "1000")
    short = docker.make("bench-short", "/bin/sh", "-c", f"yes | head -c {LOG >> 5}")
    docker.wait(short)
    tasks: dict[str, Callable[[], None]] = {
        "the first use": lambda: get(server, "/docker/ps?all=true"),
        "20 lists": lambda: lists(server, 20),
        "32 lists at once": lambda: at_once(server, 32),
        f"{LOG >> 20} MB of log": lambda: get(server, f"/docker/containers/{log}/logs?tail=all&stream=true"),
        "lines of two bytes": lambda: get(server, f"/docker/containers/{short}/logs?tail=all&stream=true"),
        "2 MB of it in JSON": lambda: get(server, f"/docker/containers/{log}/logs?tail=50000"),
        "a pull": lambda: pull(server, docker),
        f"{OUTPUT >> 20} MB of a program": lambda: program(server, runs),
        f"{EVENTS} events": lambda: events(server, docker),
    }
    return busy_with(tasks, busy, server.server.pid)


def lists(server: SystemServer, count: int) -> None:
    """Ask for so many lists, one after the other."""
    for _ in range(count):
        get(server, "/docker/ps?all=true")


def at_once(server: SystemServer, connections: int) -> None:
    """Ask for lists over so many connections."""
    wrk(server, connections, 3)


def get(server: SystemServer, path: str) -> None:
    """Ask for something, and drop the answer."""
    argv = [
        *server.machine.prefix,
        "curl",
        "-sS",
        "--fail",
        "-o",
        "/dev/null",
        "--cacert",
        str(server.server.certificate),
    ]
    argv += ["-H", f"Authorization: Bearer {server.tokens['admin']}", f"{server.server.base}/api/v1{path}"]
    subprocess.run(argv, check=True)


def pull(server: SystemServer, docker: Engine) -> None:
    """Pull an image that is not there."""
    docker.request("DELETE", f"/images/{REGISTRY}/probe/bb:1?force=1")
    docker.request("DELETE", f"/images/{IMAGE}?force=1")
    answer = server.api("POST", "/docker/images/pull", {"image": f"{REGISTRY}/probe/bb:1"})
    if answer.status != 200:
        raise Unusable(f"the pull is answered with {answer.status}: {answer.body!r}")


def program(server: SystemServer, container: str) -> None:
    """Read all that a program in a container prints."""
    with live_socket(server, f"/ws/containers/exec?container={container}") as shell:
        command = ["/bin/sh", "-c", f"yes {'a' * 99} | head -c {OUTPUT}"]
        shell.say("subscribe", payload={"channel": "container-exec", "command": command})
        shell.hear_until(lambda message: message["type"] == "exit")


def events(server: SystemServer, docker: Engine) -> None:
    """Hear of many volumes that are made and removed."""
    with live_socket(server, "/ws/events") as ear:
        ear.say("subscribe", payload={"channel": "container-events", "filters": {"type": ["volume"]}})
        ear.say("ping")
        ear.hear_until(lambda message: message["type"] == "pong")
        for number in range(EVENTS // 2):
            docker.json("POST", "/volumes/create", {"Name": f"bench-{number}"})
            docker.request("DELETE", f"/volumes/bench-{number}")
        heard = 0
        while heard < EVENTS:
            heard += ear.hear()["type"] == "event"


if __name__ == "__main__":
    sys.exit(main())
