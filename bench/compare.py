"""What the comparisons with FastAPI on uvicorn share: both servers under wrk in turn, in the same run."""

import json
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import HOST, Unusable, cpu_seconds, free_port, running, spread

PACKAGES = ("fastapi", "uvicorn[standard]")

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"microseconds":%d,"p50":%f,"p99":%f,"errors":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass
class Server:
    """A server under load."""

    name: str
    pid: int
    port: int


@dataclass
class Round:
    """What one load of one server gave; times in milliseconds, CPU in microseconds a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass
class Wrk:
    """wrk over keep-alive connections; `folder` takes its script, `headers` go with each request, `script` is Lua
    that makes other ones.
    """

    folder: Path
    connections: int
    seconds: int
    headers: Mapping[str, str]
    script: str = ""

    def load(self, server: Server, target: str, seconds: int | None = None) -> Round:
        """One load of one server. Raises `Unusable` where a request fails."""
        report = self.folder / "report.lua"
        report.write_text(self.script + _REPORT)
        length = self.seconds if seconds is None else seconds
        headers = [part for name, value in self.headers.items() for part in ("-H", f"{name}: {value}")]
        argv = ["wrk", "-t1", f"-c{self.connections}", f"-d{length}s", "--timeout", "10s", *headers, "-s", str(report)]
        cpu = cpu_seconds(server.pid)
        done = subprocess.run(
            [*argv, f"https://{HOST}:{server.port}{target}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=length + 30,
        )
        cpu = cpu_seconds(server.pid) - cpu
        result = json.loads(done.stdout.partition("RESULT ")[2])
        if result["errors"] or not result["requests"]:
            raise Unusable(f"{server.name}: {result['errors']} errors in {result['requests']} requests")
        return Round(
            rate=result["requests"] / result["microseconds"] * 1e6,
            p50=result["p50"] / 1000,
            p99=result["p99"] / 1000,
            cpu=cpu / result["requests"] * 1e6,
        )

    def in_turn(self, servers: Sequence[Server], target: str, rounds: int) -> dict[str, list[Round]]:
        """Load the servers one after the other, `rounds` times each after a second of warming up."""
        for server in servers:
            self.load(server, target, 1)
        found: dict[str, list[Round]] = {server.name: [] for server in servers}
        for number in range(rounds):
            # Turns change, so that neither always follows the other.
            for server in servers if number % 2 == 0 else reversed(servers):
                found[server.name].append(self.load(server, target))
        return found


def tell(name: str, rounds: Sequence[Round]) -> None:
    """Print what one server gave."""
    print(f"{name:10} requests/s {spread([each.rate for each in rounds], '.0f')}")
    print(f"{'':10} p50 ms     {spread([each.p50 for each in rounds])}")
    print(f"{'':10} p99 ms     {spread([each.p99 for each in rounds])}")
    print(f"{'':10} CPU us/req {spread([each.cpu for each in rounds], '.1f')}")


def tell_ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """Print how ours compares with FastAPI; return the median ratio of the rates."""
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [a.rate / b.rate for a, b in pairs]
    print(f"rate, appliance / fastapi:    {spread(ratios)}")
    print(f"CPU a request, fastapi / app: {spread([b.cpu / a.cpu for a, b in pairs])}")
    print(f"p99, appliance / fastapi:     {spread([a.p99 / b.p99 for a, b in pairs])}")
    return statistics.median(ratios)


def install_fastapi(folder: Path, *more: str) -> str:
    """A virtual environment of its own with FastAPI and `more`; the path of its Python."""
    packages = (*PACKAGES, *more)
    print(f"installing {', '.join(packages)} ...", file=sys.stderr)
    home = folder / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(argv, check=True, timeout=600)
    return python


@contextmanager
def fastapi(
    python: str, folder: Path, certificate: Path, program: str, env: dict[str, str]
) -> Iterator[tuple[int, int]]:
    """`program`, which makes a FastAPI `app`, on uvicorn with httptools and uvloop: its pid and port."""
    (folder / "fastapi_app.py").write_text(program)
    port = free_port()
    argv = [
        *(python, "-m", "uvicorn", "--app-dir", str(folder), "fastapi_app:app"),
        *("--host", HOST, "--port", str(port), "--http", "httptools", "--loop", "uvloop"),
        *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    with running(argv, port, folder / "fastapi.log", env) as pid:
        yield pid, port
