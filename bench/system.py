"""
The system surface over TLS, authenticated: its figures, disks, users and interfaces beside FastAPI on uvicorn, which
does the same work by psutil; and what log-in and the log cost.

Both servers run in a private mount, network and process namespace with users and links of its own, in the same run.
FastAPI checks the same kind of token, once for each, and writes no access log (ours writes its own). Then, ours alone:
the first page of a journal of 100 000 entries and the 900th in turn; how many processes requests start; right log-ins;
requests of others, one after the other over one connection, while 20 wrong log-ins from 20 addresses are under way.
Needs root, wrk, openssl, systemd-journal-remote and, unless --fastapi-python names an interpreter that has them, a
package index to install fastapi, uvicorn[standard], psutil and PyJWT from.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.compare import Server, Wrk, fastapi, install_fastapi, tell, tell_ratios
from bench.measure import HOST, Unusable, appliance, connect, fetch, load, make_certificate, percentile, spread
from tests.support.journal import append, numbered
from tests.support.machine import PASSWORD, machine

API = "/api/v1"
PATHS = ("/system/summary", "/system/memory", "/network/interfaces", "/storage/disks", "/users")
USERS = 30
LINKS = 8
ENTRIES = 100_000
BURST = 20
REQUESTS = 500

FASTAPI = """
import functools, os, pwd, socket, time
import jwt, psutil
from fastapi import Depends, FastAPI, Header, HTTPException

KEY = bytes.fromhex(os.environ["BENCH_KEY"])
app = FastAPI()


@functools.lru_cache
def claims(token):
    return jwt.decode(token, KEY, ["HS256"], audience="appliance:system")


async def caller(authorization: str = Header("")):
    scheme, _, token = authorization.partition(" ")
    try:
        found = claims(token)
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Missing or invalid token")
    if scheme != "Bearer" or found["exp"] <= time.time():
        raise HTTPException(401, "Missing or invalid token")
    return found["sub"]


def wrapped(data):
    return {"status": "success", "data": data, "error": None}


def release():
    lines = open("/etc/os-release").read().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


RELEASE = release()


@app.get("/api/v1/system/summary")
async def summary(user: str = Depends(caller)):
    machine = os.uname()
    boot = psutil.boot_time()
    return wrapped({
        "hostname": socket.gethostname(), "os": RELEASE["PRETTY_NAME"], "platform": RELEASE["ID"],
        "platform_family": RELEASE.get("ID_LIKE", RELEASE["ID"]), "platform_version": RELEASE.get("VERSION_ID", ""),
        "kernel": machine.release, "kernel_version": machine.release, "uptime": int(time.time() - boot),
        "boot_time": int(boot), "load_average": psutil.getloadavg(), "cpu_count": psutil.cpu_count(),
    })


@app.get("/api/v1/system/memory")
async def memory(user: str = Depends(caller)):
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return wrapped({
        "total": memory.total, "free": memory.free, "used": memory.used, "available": memory.available,
        "used_percent": memory.percent, "swap_total": swap.total, "swap_used": swap.used, "swap_free": swap.free,
        "swap_used_percent": swap.percent,
    })


@app.get("/api/v1/network/interfaces")
async def interfaces(user: str = Depends(caller)):
    addresses, stats, counters = psutil.net_if_addrs(), psutil.net_if_stats(), psutil.net_io_counters(pernic=True)
    return wrapped({"interfaces": [
        {
            "name": name, "mtu": state.mtu, "state": "up" if state.isup else "down",
            "mac": next((each.address for each in addresses.get(name, []) if each.family == psutil.AF_LINK), ""),
            "addresses": [each.address for each in addresses.get(name, []) if each.family != psutil.AF_LINK],
            "statistics": {
                "rx_bytes": count.bytes_recv, "tx_bytes": count.bytes_sent, "rx_packets": count.packets_recv,
                "tx_packets": count.packets_sent, "rx_errors": count.errin, "tx_errors": count.errout,
                "rx_dropped": count.dropin, "tx_dropped": count.dropout,
            },
        }
        for name, state in stats.items() for count in [counters[name]]
    ]})


@app.get("/api/v1/storage/disks")
async def disks(user: str = Depends(caller)):
    found = []
    for partition in psutil.disk_partitions():
        usage = psutil.disk_usage(partition.mountpoint)
        found.append({
            "name": partition.device.removeprefix("/dev/"), "path": partition.device, "filesystem": partition.fstype,
            "mount_point": partition.mountpoint, "size": usage.total, "used": usage.used, "available": usage.free,
            "use_percent": usage.percent,
        })
    return wrapped({"disks": found})


@app.get("/api/v1/users")
async def users(user: str = Depends(caller)):
    return wrapped({"users": [
        {"username": each.pw_name, "uid": str(each.pw_uid), "gid": str(each.pw_gid), "comment": each.pw_gecos,
         "home": each.pw_dir, "shell": each.pw_shell}
        for each in pwd.getpwall()
    ]})
"""

_INNER = "--inside"


def main() -> int:
    """Run everything and print it; 1 where it falls short of --require, 2 where it cannot be measured."""
    options = parse_arguments()
    try:
        if options.inside is not None:
            with ExitStack() as servers:
                return measure(options, Path(options.inside), servers)
        with tempfile.TemporaryDirectory(prefix="bench-system-") as folder:
            return enter(Path(folder))
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each path, each loading both (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one load (default 3)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (default 32)")
    parser.add_argument("--paths", nargs="*", default=PATHS, help="what to compare (default: all five)")
    parser.add_argument("--fastapi-python", help="a Python that has fastapi, uvicorn[standard], psutil and PyJWT")
    parser.add_argument("--require", type=float, default=0.0, help="fail below this ratio of the rates")
    parser.add_argument("--skip-comparison", action="store_true", help="measure ours alone")
    parser.add_argument(_INNER, help=argparse.SUPPRESS)
    return parser.parse_args()


def enter(folder: Path) -> int:
    """Make the machine, and run this program anew inside, where its processes get numbers of their own."""
    with machine(folder / "machine") as inside:
        inside.add_user("admin", PASSWORD, "sudo")
        for number in range(USERS):
            inside.add_user(f"user{number}", None)
        for number in range(LINKS // 2):
            inside.run("ip", "link", "add", f"left{number}", "type", "veth", "peer", f"right{number}")
            inside.run("ip", "address", "add", f"10.{number}.0.1/24", "dev", f"left{number}")
            inside.run("ip", "link", "set", f"left{number}", "up")
        append(folder / "journal" / "system.journal", numbered(0, ENTRIES))
        again = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], _INNER, str(folder)]
        return subprocess.run(
            [*inside.prefix, "unshare", "--pid", "--fork", "--mount-proc", *again], check=False
        ).returncode


def measure(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    certificate = make_certificate(folder)
    config = f'[system]\nrate_limit_per_minute = 0\njournal_directory = "{folder / "journal"}"\n'
    pid, port = servers.enter_context(appliance(folder, certificate, config))
    ours = Client(port, certificate, log_in(port, certificate))
    print(f"load before {load()}")
    ratios = [] if options.skip_comparison else compare(options, folder, servers, pid, ours)
    measure_pages(ours)
    measure_processes(ours)
    ours.close()
    measure_log_ins(port, certificate)
    measure_others(ours)
    ours.close()
    print(f"load after {load()}")
    return 0 if min(ratios, default=options.require) >= options.require else 1


class Client:
    """Asks one server with a token."""

    def __init__(self, port: int, certificate: Path, token: str) -> None:
        self.port = port
        self.certificate = certificate
        self.token = token
        self.headers = {"Authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET over a connection of its own."""
        return fetch(self.port, self.certificate, "GET", API + path, headers=self.headers)

    def timed(self, path: str) -> float:
        """Milliseconds that a GET takes over a connection that is kept. Raises `Unusable` unless it succeeds."""
        if self._connection is None:
            self._connection = connect(self.port, self.certificate)
            self.timed(path)  # the handshake is no part of it
        begin = time.perf_counter()
        self._connection.request("GET", API + path, headers=self.headers)
        response = self._connection.getresponse()
        body = response.read()
        took = (time.perf_counter() - begin) * 1000
        if response.status != 200:
            raise Unusable(f"GET {path} is answered with {response.status}: {body[:200]!r}")
        return took

    def close(self) -> None:
        """End the connection that is kept: a server closes it where it is idle for long."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def log_in(port: int, certificate: Path) -> str:
    body = json.dumps({"username": "admin", "password": PASSWORD})
    status, answer = fetch(port, certificate, "POST", f"{API}/auth/login", body, {"Content-Type": "application/json"})
    if status != 200:
        raise Unusable(f"log-in is answered with {status}: {answer!r}")
    token: str = json.loads(answer)["data"]["token"]
    return token


def compare(options: argparse.Namespace, folder: Path, servers: ExitStack, pid: int, ours: Client) -> list[float]:
    """Load both servers with each path; the ratios of the rates."""
    python = options.fastapi_python or install_fastapi(folder, "psutil", "PyJWT")
    key = (folder / "state" / "tokens.key").read_bytes()  # so that our token opens both
    env = {"BENCH_KEY": key.hex()}
    their_pid, their_port = servers.enter_context(fastapi(python, folder, ours.certificate, FASTAPI, env))
    theirs = Client(their_port, ours.certificate, ours.token)
    pair = [Server("appliance", pid, ours.port), Server("fastapi", their_pid, their_port)]
    wrk = Wrk(folder, options.connections, options.seconds, ours.headers)
    ratios = []
    for path in options.paths:
        if ours.get(path)[0] == 404:
            print(f"\n{path}: our server does not have it (yet)")
            continue
        sizes = [check(client, path) for client in (ours, theirs)]
        rounds = wrk.in_turn(pair, API + path, options.rounds)
        print(f"\n{path}: {sizes[0]} bytes of ours, {sizes[1]} of FastAPI's, {options.connections} connections")
        for server in pair:
            tell(server.name, rounds[server.name])
        ratios.append(tell_ratios(rounds["appliance"], rounds["fastapi"]))
    return ratios


def check(client: Client, path: str) -> int:
    """That a good token opens it and a bad one does not; the length of the answer."""
    status, body = client.get(path)
    bad = {"Authorization": f"Bearer {client.token}x"}
    refused, _ = fetch(client.port, client.certificate, "GET", API + path, headers=bad)
    if (status, refused) != (200, 401):
        raise Unusable(f"port {client.port} answers {path} with {status} and {refused}, not with 200 and 401")
    return len(body)


def measure_processes(ours: Client) -> None:
    """How many processes and threads begin while each path is asked many times: the machine counts them here."""
    print(f"\nprocesses started by {REQUESTS} requests")
    for path in (*PATHS, "/system/cpu", "/system/hardware", "/auth/tokens", "/logs?page=7"):
        if ours.get(path)[0] == 404:
            continue
        for _ in range(50):
            ours.timed(path)
        before = newest_pid()
        took = sum(ours.timed(path) for _ in range(REQUESTS))
        print(f"  {path:24} {newest_pid() - before:5} in {took / 1000:.1f} s")


def newest_pid() -> int:
    """The last process id that was given out in our namespace (proc(5), loadavg)."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


def measure_log_ins(port: int, certificate: Path) -> None:
    took = []
    for _ in range(BURST):
        begin = time.perf_counter()
        log_in(port, certificate)
        took.append((time.perf_counter() - begin) * 1000)
    print(f"\nright log-in, new connection each: {spread(took, '.0f')} ms (150 at most)")


def measure_others(ours: Client) -> None:
    """What everybody else's requests take while wrong passwords are checked, and while none are."""
    quiet = [ours.timed("/system/summary") for _ in range(2000)]
    busy: list[float] = []
    statuses: list[str] = []
    for burst in range(3):
        guesses = [guess(ours, f"127.0.{burst + 1}.{number + 1}") for number in range(BURST)]
        while any(process.poll() is None for process in guesses):
            busy.append(ours.timed("/system/summary"))
        statuses += [process.communicate()[0] for process in guesses]
    told = ", ".join(f"{statuses.count(each)} x {each}" for each in sorted(set(statuses)))
    print(f"\nothers' requests, {BURST} wrong log-ins at once, three times ({told})")
    for name, found in (("quiet", quiet), ("meanwhile", busy)):
        p50, p99 = statistics.median(found), percentile(found, 0.99)
        print(f"  {name:10} {len(found):6} requests, p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {max(found):.1f} ms")


def guess(ours: Client, address: str) -> "subprocess.Popen[str]":
    """A wrong log-in from an address of its own, as a process that prints the status."""
    body = json.dumps({"username": "admin", "password": f"wrong {address}"})
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(ours.certificate)]
    argv += ["--interface", address, "--json", body, f"https://{HOST}:{ours.port}{API}/auth/login"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def measure_pages(ours: Client) -> None:
    """The first page of the journal and one far back, in turn; the first question of all counts the entries."""
    begin = time.perf_counter()
    total = json.loads(ours.get("/logs?page=1")[1])["data"]["total_count"]
    counting = (time.perf_counter() - begin) * 1000
    first, far = [], []
    for _ in range(40):
        first.append(ours.timed("/logs?page=1"))
        far.append(ours.timed("/logs?page=900"))
    print(f"\nlog of {total} entries, counted in {counting:.0f} ms")
    print(f"  page 1     {spread(first, '.1f')} ms")
    print(f"  page 900   {spread(far, '.1f')} ms")
    ratio = statistics.median(far) / statistics.median(first)
    print(f"  page 900 / page 1: {ratio:.2f} (2 at most)")


if __name__ == "__main__":
    sys.exit(main())
