"""
An upload over TLS: POST update of our server beside nginx storing the same body on the same disk.

curl sends one multipart body of random bytes, to our server and to nginx (PUT, one worker) in turn. Random
bytes are no update package, so each update fails after the upload; the next round waits for that. While ours
receives, its memory is sampled and one keep-alive client asks GET version. Everything written is synced
between rounds, so that none pays for the one before. Needs curl, openssl, nginx and about four times the size
free in --directory; all on the loopback interface.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import sync, urandom
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import (
    API,
    HOST,
    Unusable,
    appliance,
    authenticated,
    connect,
    cpu_seconds,
    fetch,
    free_port,
    load,
    make_certificate,
    memory,
    percentile,
    reset_peak,
    running,
    spread,
)

MIB = 1 << 20
UPDATE = f"{API}/update"
VERSION = f"{API}/version"
JOB_SECONDS = 300.0

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        root {folder}/stored;
        location / {{ dav_methods PUT; }}
    }}
}}
"""


@dataclass
class Upload:
    """One upload: bytes a second as the client saw them, and the server's CPU seconds."""

    rate: float
    cpu: float


@dataclass
class Meanwhile:
    """What was seen of our server while it received; bytes and seconds."""

    growth: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def main() -> int:
    """Run the comparison and print it; 1 where it falls short of --require, 2 where it cannot be made."""
    options = parse_arguments()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-upload-", dir=options.directory) as folder,
            ExitStack() as servers,
        ):
            return compare(options, Path(folder), servers)
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of one upload (default 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each with one of either (default 3)")
    parser.add_argument("--interval", type=float, default=0.01, help="seconds between GET version (default 0.01)")
    parser.add_argument("--directory", help="where bodies and states are kept (default: the temporary folder)")
    parser.add_argument("--only", choices=["appliance", "nginx"], help="upload to one server, compare nothing")
    parser.add_argument("--require", type=float, default=0.0, help="fail below this ratio of the rates")
    return parser.parse_args()


def compare(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    size = options.size * MIB
    needed = 4 * size if options.only != "nginx" else 2 * size
    if shutil.disk_usage(folder).free < needed + 256 * MIB:
        raise Unusable(f"{folder} has less than {needed // MIB + 256} MiB free")
    certificate = make_certificate(folder)
    body = folder / "body.enc"
    write_random(body, size)
    ours: list[Upload] = []
    theirs: list[Upload] = []
    seen = Meanwhile()
    us = servers.enter_context(appliance(folder, certificate)) if options.only != "nginx" else None
    them = servers.enter_context(nginx(folder, certificate)) if options.only != "appliance" else None
    before = load()
    for number in range(options.rounds):
        turns = []
        if us is not None:
            turns.append(lambda: ours.append(upload_ours(*us, certificate, body, options.interval, seen)))
        if them is not None:
            turns.append(lambda: theirs.append(upload_theirs(*them, folder, certificate, body)))
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
            sync()
    print(f"{options.size} MiB an upload, {options.rounds} rounds")
    tell("appliance", ours)
    tell("nginx", theirs)
    if ours:
        tell_meanwhile(seen)
    print(f"load before {before}, after {load()}")
    if not (ours and theirs):
        return 0
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
    print(f"rate, appliance / nginx: {spread(ratios)}")
    return 0 if statistics.median(ratios) >= options.require and not seen.failures else 1


def write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(urandom(MIB))
    sync()


def upload_ours(pid: int, port: int, certificate: Path, body: Path, interval: float, seen: Meanwhile) -> Upload:
    """One POST update, watched, and the wait until the failed update has ended."""
    url = f"https://{HOST}:{port}{authenticated('POST', UPDATE)}"
    with watched(pid, port, certificate, interval, seen):
        result = upload(pid, "POST", url, certificate, body, expected=202)
    wait_for_the_end(port, certificate)
    return result


def upload_theirs(pid: int, port: int, folder: Path, certificate: Path, body: Path) -> Upload:
    """One PUT to nginx, removed again."""
    result = upload(pid, "PUT", f"https://{HOST}:{port}/body", certificate, body, expected=201)
    stored = folder / "stored" / "body"
    if stored.stat().st_size < body.stat().st_size:
        raise Unusable("nginx has not stored the whole body")
    stored.unlink()
    return result


def upload(pid: int, method: str, url: str, certificate: Path, body: Path, expected: int) -> Upload:
    argv = [
        *("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "600", "--request", method),
        *("--cacert", str(certificate), "--form", f"update=@{body}", "--output", "/dev/null"),
        *("--write-out", "%{http_code} %{size_upload} %{time_total}", "--", url),
    ]
    cpu = cpu_seconds(pid)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=630)
    cpu = cpu_seconds(pid) - cpu
    status, sent, seconds = done.stdout.split() if done.returncode == 0 else ("0", "0", "1")
    if int(status) != expected or int(sent) < body.stat().st_size:
        raise Unusable(f"{method} gave {status} after {sent} bytes {done.stderr.strip()}")
    return Upload(rate=int(sent) / float(seconds), cpu=cpu)


@contextmanager
def watched(pid: int, port: int, certificate: Path, interval: float, seen: Meanwhile) -> Iterator[None]:
    """Sample our server's memory and answer times as long as the block runs."""
    over = threading.Event()
    client = threading.Thread(target=ask_version, args=(port, certificate, interval, seen, over))
    reset_peak(pid)
    start = memory(pid, "VmRSS")
    client.start()
    try:
        yield
    finally:
        over.set()
        client.join(60)
        seen.growth.append(memory(pid, "VmHWM") - start)


def ask_version(port: int, certificate: Path, interval: float, seen: Meanwhile, over: threading.Event) -> None:
    """GET version again and again over one connection; the first failure ends it and is kept."""
    client = connect(port, certificate)
    target = authenticated("GET", VERSION)
    try:
        client.connect()
        while not over.wait(interval):
            start = time.monotonic()
            client.request("GET", target)
            response = client.getresponse()
            response.read()
            seen.latencies.append(time.monotonic() - start)
            if response.status != 200:
                raise Unusable(f"GET version gave {response.status}")
    except (OSError, Unusable) as error:
        seen.failures.append(str(error))
    finally:
        client.close()


def wait_for_the_end(port: int, certificate: Path) -> None:
    """Return when no update runs any more."""
    deadline = time.monotonic() + JOB_SECONDS
    while time.monotonic() < deadline:
        status, body = fetch(port, certificate, "GET", authenticated("GET", UPDATE))
        if status == 200 and json.loads(body)["status"] not in ("running", None):
            return
        time.sleep(0.2)
    raise Unusable(f"the update has not ended after {JOB_SECONDS:.0f} s")


@contextmanager
def nginx(folder: Path, certificate: Path) -> Iterator[tuple[int, int]]:
    """nginx with one worker that stores what is PUT, unparsed: its pid and port."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise Unusable("nginx is not installed (Debian: nginx-light)")
    (folder / "stored").mkdir()
    port = free_port()
    configuration = folder / "nginx.conf"
    # The folder is private to whoever runs this, so the worker must be the same user.
    user = "user root;" if Path(folder).stat().st_uid == 0 else ""
    configuration.write_text(NGINX.format(folder=folder, host=HOST, port=port, certificate=certificate, user=user))
    argv = [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "nginx-error.log")]
    with running(argv, port, folder / "nginx.log") as pid:
        yield pid, port


def tell(name: str, uploads: list[Upload]) -> None:
    if uploads:
        print(f"{name:10} MB/s  {spread([each.rate / 1e6 for each in uploads], '.0f')}")
        print(f"{'':10} CPU s {spread([each.cpu for each in uploads])}")


def tell_meanwhile(seen: Meanwhile) -> None:
    print(f"memory growth MiB {spread([each / MIB for each in seen.growth], '.1f')}")
    milliseconds = [each * 1000 for each in seen.latencies]
    if milliseconds:
        print(
            f"GET version meanwhile ms: p50 {percentile(milliseconds, 0.5):.1f}, "
            f"p99 {percentile(milliseconds, 0.99):.1f}, most {max(milliseconds):.1f}, n {len(milliseconds)}"
        )
    for failure in seen.failures:
        print(f"GET version failed: {failure}")


if __name__ == "__main__":
    sys.exit(main())
