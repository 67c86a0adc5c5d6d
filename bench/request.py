"""
GET version, authenticated by hash, over TLS: our server beside FastAPI on uvicorn, in the same run.

FastAPI makes the same HMAC check and serves the same JSON with the same certificate, without an access log
(ours writes its own). Each round loads one server and then the other with wrk over keep-alive connections.
Needs wrk, openssl and, unless --fastapi-python names an interpreter that has them, a package index to install
fastapi and uvicorn[standard] from. All on the loopback interface; nothing is pinned to a core.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import (
    API,
    HOST,
    TOKEN,
    Unusable,
    appliance,
    authenticated,
    cpu_seconds,
    fetch,
    free_port,
    load,
    make_certificate,
    running,
    spread,
)

PATH = f"{API}/version"
PACKAGES = ("fastapi", "uvicorn[standard]")

FASTAPI = """
import hashlib, hmac, json, os
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

KEY = hashlib.sha256(os.environ["BENCH_TOKEN"].encode()).hexdigest().encode()
VERSION = json.loads(os.environ["BENCH_REPLY"])
app = FastAPI()


@app.get("/api/v1/admin/version")
async def version(request: Request, hash: str = ""):
    expected = hmac.new(KEY, (request.method + request.url.path).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), hash.encode()):
        return JSONResponse({"Status": "403 Forbidden", "Error-Message": "Authentication error"}, 403)
    return VERSION
"""

REPORT = """
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


def main() -> int:
    """Run the comparison and print it; 1 where it falls short of --require, 2 where it cannot be made."""
    options = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-request-") as folder, ExitStack() as servers:
            return compare(options, Path(folder), servers)
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each loading both (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (default 32)")
    parser.add_argument("--fastapi-python", help="a Python that has fastapi and uvicorn[standard]")
    parser.add_argument("--only", choices=["appliance", "fastapi"], help="load one server, compare nothing")
    parser.add_argument("--require", type=float, default=0.0, help="fail below this ratio of the rates")
    return parser.parse_args()


def compare(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    certificate = make_certificate(folder)
    report = folder / "report.lua"
    report.write_text(REPORT)
    reply = b'{"version":"1.0.0"}'
    loaded = []
    if options.only != "fastapi":
        pid, port = servers.enter_context(appliance(folder, certificate))
        reply = check(port, certificate, None)
        loaded.append(Server("appliance", pid, port))
    if options.only != "appliance":
        python = options.fastapi_python or install_fastapi(folder)
        pid, port = servers.enter_context(fastapi(python, folder, certificate, reply))
        check(port, certificate, reply)
        loaded.append(Server("fastapi", pid, port))
    before = load()
    rounds = measure(loaded, options, report)
    print(f"reply {reply.decode()}, {options.connections} connections, {options.seconds} s a load")
    for server in loaded:
        tell(server.name, rounds[server.name])
    print(f"load before {before}, after {load()}")
    if len(loaded) < 2:
        return 0
    ours, theirs = rounds["appliance"], rounds["fastapi"]
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
    print(f"rate, appliance / fastapi:    {spread(ratios)}")
    print(f"CPU a request, fastapi / app: {spread([b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)])}")
    print(f"p99, appliance / fastapi:     {spread([a.p99 / b.p99 for a, b in zip(ours, theirs, strict=True)])}")
    return 0 if statistics.median(ratios) >= options.require else 1


def measure(loaded: list[Server], options: argparse.Namespace, report: Path) -> dict[str, list[Round]]:
    for server in loaded:
        wrk(server, options.connections, 1, report)
    rounds: dict[str, list[Round]] = {server.name: [] for server in loaded}
    for number in range(options.rounds):
        # Turns change, so that neither always follows the other.
        for server in loaded if number % 2 == 0 else reversed(loaded):
            rounds[server.name].append(wrk(server, options.connections, options.seconds, report))
    return rounds


def wrk(server: Server, connections: int, seconds: int, report: Path) -> Round:
    url = f"https://{HOST}:{server.port}{authenticated('GET', PATH)}"
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(report), url]
    cpu = cpu_seconds(server.pid)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30)
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


def tell(name: str, rounds: list[Round]) -> None:
    print(f"{name:10} requests/s {spread([each.rate for each in rounds], '.0f')}")
    print(f"{'':10} p50 ms     {spread([each.p50 for each in rounds])}")
    print(f"{'':10} p99 ms     {spread([each.p99 for each in rounds])}")
    print(f"{'':10} CPU us/req {spread([each.cpu for each in rounds], '.1f')}")


def check(port: int, certificate: Path, expected: bytes | None) -> bytes:
    """That the server answers right to good and bad credentials; its reply, compact."""
    status, body = fetch(port, certificate, "GET", authenticated("GET", PATH))
    refused, _ = fetch(port, certificate, "GET", f"{PATH}?hash={'0' * 64}")
    if (status, refused) != (200, 403):
        raise Unusable(f"port {port} answers {status} and {refused} where 200 and 403 were expected")
    if expected is not None and json.loads(body) != json.loads(expected):
        raise Unusable(f"port {port} serves {body!r}, not {expected!r}")
    return body


def install_fastapi(folder: Path) -> str:
    """A virtual environment of its own with FastAPI; the path of its Python."""
    print(f"installing {', '.join(PACKAGES)} ...", file=sys.stderr)
    home = folder / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(argv, check=True, timeout=600)
    return python


@contextmanager
def fastapi(python: str, folder: Path, certificate: Path, reply: bytes) -> Iterator[tuple[int, int]]:
    """FastAPI on uvicorn with httptools and uvloop: its pid and port."""
    (folder / "fastapi_version.py").write_text(FASTAPI)
    port = free_port()
    argv = [
        *(python, "-m", "uvicorn", "--app-dir", str(folder), "fastapi_version:app"),
        *("--host", HOST, "--port", str(port), "--http", "httptools", "--loop", "uvloop"),
        *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    env = {"BENCH_TOKEN": TOKEN, "BENCH_REPLY": reply.decode()}
    with running(argv, port, folder / "fastapi.log", env) as pid:
        yield pid, port


if __name__ == "__main__":
    sys.exit(main())
