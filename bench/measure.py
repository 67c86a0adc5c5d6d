"""What the benchmarks share: servers under measurement, their figures from /proc, how results are told."""

import hashlib
import hmac
import http.client
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
API = "/api/v1/admin"
TOKEN = "a-token-for-the-benchmark"
START_SECONDS = 30.0


class Unusable(Exception):
    """The measurement cannot be made; the text says why."""


def hash_of(method: str, path: str) -> str:
    """The `hash` credential of the admin API for one method and path, under `TOKEN`."""
    key = hashlib.sha256(TOKEN.encode()).hexdigest().encode()
    return hmac.new(key, (method + path).encode(), hashlib.sha256).hexdigest()


def authenticated(method: str, path: str) -> str:
    """`path` with its credential."""
    return f"{path}?{urlencode({'hash': hash_of(method, path)})}"


def make_certificate(folder: Path) -> Path:
    """One PEM file with a new P-256 key and its self-signed certificate, for all servers compared."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "server.pem"
    argv = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", f"subjectAltName=DNS:localhost,IP:{HOST}"),
    ]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    both.chmod(0o600)
    return both


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(argv: Sequence[str], port: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A server process that listens on `port` (its pid); it and its children end with the block."""
    with launched(argv, log, env) as process:
        _wait_for(process, port, log)
        yield process.pid


@contextmanager
def launched(argv: Sequence[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was started this moment; it and its children end with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, **(env or {})}, cwd=log.parent,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    tail = log.read_text(errors="replace")[-2000:]
    raise Unusable(f"{process.args!r} does not listen on port {port}:\n{tail}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
    process.wait(10)


@contextmanager
def appliance(folder: Path, certificate: Path, config: str = "") -> Iterator[tuple[int, int]]:
    """Our server under twistd with an empty state, `TOKEN` set and the settings `config` (TOML): its pid and port."""
    state, port = folder / "state", free_port()
    (state / "tls").mkdir(parents=True, mode=0o700)
    stored = state / "tls" / "server.pem"
    stored.write_bytes(certificate.read_bytes())
    stored.chmod(0o600)
    settings = folder / "appliance.toml"
    settings.write_text(config)
    twistd = Path(sys.executable).with_name("twistd")
    argv = [
        *(str(twistd), "-n", "--pidfile=", "appliance", "--config", str(settings)),
        *("--state", str(state), "--https", f"{HOST}:{port}"),
    ]
    with running(argv, port, folder / "appliance.log", {"PYTHONPATH": str(ROOT)}) as pid:
        form = urlencode({"newtoken": TOKEN})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, body = fetch(port, certificate, "POST", f"{API}/setup", form, kind)
        if status not in (200, 202):
            raise Unusable(f"the token could not be set: {status} {body!r}")
        yield pid, port


def connect(port: int, certificate: Path) -> http.client.HTTPSConnection:
    """A client that trusts `certificate` and nothing else."""
    context = ssl.create_default_context(cafile=str(certificate))
    return http.client.HTTPSConnection(HOST, port, timeout=30, context=context)


def fetch(
    port: int,
    certificate: Path,
    method: str,
    target: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One request over a connection of its own: status and body."""
    client = connect(port, certificate)
    try:
        client.request(method, target, body, headers or {})
        response = client.getresponse()
        return response.status, response.read(1 << 20)
    finally:
        client.close()


def cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """
    User and system time that a process and its living descendants have used (proc(5), stat).

    With `ended` also what their children had used that have ended meanwhile.
    """
    total = 0.0
    for each in _tree(pid):
        # The name in parentheses may hold anything; the fields after it are numbers.
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")
    return total


def _tree(pid: int) -> list[int]:
    children = _of_process(pid, f"task/{pid}/children").split()
    return [pid, *(grandchild for child in children for grandchild in _tree(int(child)))]


def _of_process(pid: int, file: str) -> str:
    """A file of a process in /proc; empty where the process has just ended."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def memory(pid: int, field: str) -> int:
    """`VmRSS`, `VmHWM` or another figure of memory of one process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise Unusable(f"/proc/{pid}/status has no {field}")


def reset_peak(pid: int) -> None:
    """Let `VmHWM` count from now on (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def load() -> str:
    """The machine's load averages and cores, which say what a figure is worth."""
    one, five, fifteen = os.getloadavg()
    return f"{one:.2f} {five:.2f} {fifteen:.2f} on {os.cpu_count()} cores"
