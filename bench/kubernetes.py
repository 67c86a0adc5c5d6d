"""
For how long the reactor is busy at once with what Kubernetes gives it to do, and how long a list of 5 000 pods takes.

The cluster is the double of the tests, in a process of its own, filled with pods that nobody runs. One after the other,
with nothing else to do: lists, one after the other and at once, a single page, large YAML that is applied and that is
refused, and a log streamed to a client that keeps up. Needs root, wrk and curl.
"""

import argparse
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.busy import Busy, busy_with, watched
from bench.measure import Unusable, load
from tests.support.kubernetes.double import Double, double
from tests.support.kubernetes.passage import passage
from tests.support.machine import PASSWORD, SystemServer, machine
from tests.support.server import Server

PODS = 5000
LOG = 50 << 20
LIST = "/kubernetes/pods?namespace=bench"
_AT_A_TIME = 100


def main() -> int:
    """Measure and print; 1 where a goal is missed, 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=PODS, help=f"(default {PODS})")
    options = parser.parse_args()
    try:
        with ExitStack() as ending:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="bench-kubernetes-")))
            cluster = ending.enter_context(double(folder / "cluster"))
            busy = watched(folder)
            server = ending.enter_context(serving(folder, cluster, busy))
            fill(cluster, options.pods)
            print(f"load before {load()}")
            good = busy_times(server, cluster, busy, options.pods)
            print(f"load after {load()}")
            return 0 if good else 1
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


@contextmanager
def serving(folder: Path, cluster: Double, busy: Busy) -> Iterator[SystemServer]:
    """The server in a machine of its own, which notes for how long it is busy."""
    kubeconfig = cluster.kubeconfig()
    config = f'[system]\nrate_limit_per_minute = 0\nkubeconfig = "{kubeconfig}"\n[server]\naccess_log = false\n'
    with machine(folder / "machine") as inside, passage(inside, cluster.port):
        inside.add_user("admin", PASSWORD, "sudo")
        server = Server(folder / "server", config, prefix=inside.prefix, environment=busy.environment)
        server.start()
        try:
            found = SystemServer(inside, server)
            found.log_in("admin")
            yield found
        finally:
            server.stop()


def fill(cluster: Double, pods: int) -> None:
    """Put pods in, each about as long as a real one."""
    cluster.namespace("bench")
    for first in range(0, pods, _AT_A_TIME):
        cluster.put(("", "v1", "pods"), [pod(number) for number in range(first, min(first + _AT_A_TIME, pods))])


def pod(number: int) -> dict[str, Any]:
    """A pod of two containers that no scheduler knows."""
    probe = {"httpGet": {"path": "/healthy", "port": 8080}, "periodSeconds": 10}
    containers = [
        {
            "name": name,
            "image": "registry.example/team/application:1.2.3",
            "command": ["/bin/application", "--verbose"],
            "env": [{"name": f"VARIABLE_{each}", "value": "x" * 40} for each in range(12)],
            "livenessProbe": probe,
            "readinessProbe": probe,
        }
        for name in ("application", "companion")
    ]
    managed = [{"manager": f"m{each}", "fieldsV1": {f"f:{name}": {} for name in range(150)}} for each in range(2)]
    metadata = {
        "name": f"pod-{number:05}",
        "namespace": "bench",
        "uid": str(uuid.uuid4()),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": f"app-{number % 10}"},
        "managedFields": managed,
    }
    running: dict[str, Any] = {"ready": True, "state": {"running": {}}}
    statuses = [{"name": each["name"], **running} for each in containers]
    spec = {"containers": containers, "schedulerName": "nobody", "restartPolicy": "Always"}
    status = {"phase": "Running", "containerStatuses": statuses}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def busy_times(server: SystemServer, cluster: Double, busy: Busy, pods: int) -> bool:
    """For how long the reactor is busy with each kind of work; whether it always is for a short time only."""
    script = f"yes {'a' * 999} | head -c {LOG}"
    cluster.pod("bench", "writes", "/bin/sh", "-c", script, restartPolicy="Never")
    path = "/api/v1/namespaces/bench/pods/writes"
    cluster.wait_for(path, lambda found: found["status"]["phase"] == "Succeeded")
    maps = "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{number}, namespace: bench}}\n"
        f"data: {{{', '.join(f'k{each}: x{each:0100}' for each in range(100))}}}"
        for number in range(100)
    )
    refused = "- a: b\n" * 500_000
    tasks: dict[str, Callable[[], None]] = {
        "the first use": lambda: get(server, "/kubernetes/namespaces"),
        f"a list of {pods}": lambda: get(server, LIST),
        "5 such lists": lambda: get(server, LIST, times=5),
        "8 at once": lambda: at_once(server, 8),
        "20 pages of 500": lambda: get(server, f"{LIST}&limit=500", times=20),
        f"{len(maps) >> 10} KiB of YAML": lambda: apply(server, maps, 200),
        f"{len(refused) >> 10} KiB that is refused": lambda: apply(server, refused, 400),
        f"{LOG >> 20} MB of log": lambda: get(server, "/kubernetes/pods/bench/writes/logs?lines=all&stream=true"),
        "2 MB of it in JSON": lambda: get(server, "/kubernetes/pods/bench/writes/logs?lines=50000"),
    }
    return busy_with(tasks, busy, server.server.pid)


def get(server: SystemServer, path: str, times: int = 1) -> None:
    """Ask for something, one time after the other, and drop the answers."""
    for _ in range(times):
        answer = server.api("GET", path)
        if answer.status != 200:
            raise Unusable(f"{path} is answered with {answer.status}: {answer.body[:200]!r}")


def at_once(server: SystemServer, connections: int) -> None:
    """Ask for lists over so many connections."""
    argv = ["wrk", "-t1", f"-c{connections}", "-d5s", "--timeout", "30s"]
    argv += ["-H", f"Authorization: Bearer {server.tokens['admin']}", f"{server.server.base}/api/v1{LIST}"]
    done = subprocess.run([*server.machine.prefix, *argv], capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Unusable(done.stdout)


def apply(server: SystemServer, text: str, status: int) -> None:
    """Send YAML to be applied, and look at the answer's status."""
    headers = ["-H", "Content-Type: application/yaml", "-H", f"Authorization: Bearer {server.tokens['admin']}"]
    path = "/api/v1/kubernetes/apply"
    answer = server.curl("-X", "POST", *headers, "--data-binary", "@-", path=path, stdin=text.encode())
    if answer.status != status:
        raise Unusable(f"applying is answered with {answer.status}: {answer.body[:200]!r}")


if __name__ == "__main__":
    sys.exit(main())
