"""
The mesh under load, over TLS, on a network of a thousand nodes and one of twenty thousand.

The server has one core and the load another (where there are two). Rates by wrk over keep-alive connections, each
request of another device; `stop` is the longest that a small request waits while a group of the large network
changes. Beside it, for scale, FastAPI with SQLAlchemy doing the heartbeat the plain way: one session, one commit a
request. Needs wrk, openssl and, unless --fastapi-python names an interpreter that has them, a package index to install
fastapi, uvicorn[standard], sqlalchemy and pyjwt from.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from twisted.internet.task import Clock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from appliance.mesh.actor import Actor
from appliance.mesh.certificates.authority import make_authority, sign
from appliance.mesh.certificates.keys import new_host_key, new_signing_key
from appliance.mesh.certificates.model import Details
from appliance.mesh.node_making import NewNode, create_in
from appliance.mesh.subnets import interface_of, parse_subnet
from appliance.mesh.tokens import Tokens
from appliance.mesh.vault import Vault
from bench.compare import Round, Server, Wrk, fastapi, install_fastapi
from bench.measure import Unusable, appliance, connect, load, make_certificate, spread

SETTINGS = """
[mesh]
rate_limit_exempt = ["127.0.0.1"]
[server]
access_log = false
"""
SIZES = {"small": 1000, "large": 20_000}
DEVICES = 1000
"""How many of a network's devices ask, in turn."""

_REQUESTS = """
local requests, count, number = {}, 0, 0
init = function(args)
  for line in io.lines("%s") do
    local method, path, headers, body = line:match("^(%%S+) (%%S+) ([^\\t]*)\\t(.*)$")
    local found = {}
    for name, value in headers:gmatch("([^:|]+): ([^|]+)") do found[name] = value end
    count = count + 1
    requests[count] = wrk.format(method, path, found, body ~= "" and body or nil)
  end
end
request = function()
  number = number %% count + 1
  return requests[number]
end
"""

FASTAPI = """
import os
from datetime import datetime
import jwt
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import DateTime, String, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine("sqlite:///" + os.environ["BENCH_DATABASE"], pool_size=40)


@event.listens_for(engine, "connect")
def durable(connection, record):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=30000")


class Base(DeclarativeBase):
    pass


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    last_seen: Mapped[datetime | None] = mapped_column(DateTime)


Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all(Node(id=number) for number in range(1, 1001))
    session.commit()
app = FastAPI()


def device(authorization: str = Header()):
    try:
        return jwt.decode(authorization[7:], os.environ["BENCH_KEY"], ["HS256"])
    except jwt.InvalidTokenError:
        raise HTTPException(401)


@app.post("/api/nodes/{node_id}/heartbeat")
def heartbeat(node_id: int, claims: dict = Depends(device)):
    if claims["node_id"] != node_id:
        raise HTTPException(404)
    with Session(engine) as session:
        node = session.get(Node, node_id)
        node.last_seen, node.status = datetime.utcnow(), "active"
        session.commit()
        return {"ok": True, "last_seen": node.last_seen}
"""


@dataclass
class Ask:
    """One request of a load."""

    method: str
    path: str
    token: str
    etag: str = ""
    body: str = ""

    def line(self) -> str:
        headers = [f"Authorization: Bearer {self.token}"]
        headers += [f"If-None-Match: {self.etag}"] if self.etag else []
        headers += ["Content-Type: application/json"] if self.body else []
        return f"{self.method} {self.path} {'|'.join(headers)}\t{self.body}\n"


@dataclass
class Mesh:
    """The server under measurement, and who asks it. `devices` are ids of nodes by the network's name."""

    server: Server
    certificate: Path
    wrk: Wrk
    tokens: Tokens
    rounds: int
    owner: str
    networks: dict[str, int]
    devices: dict[str, list[int]]

    def rate(self, name: str, asks: Sequence[Ask], goal: float) -> bool:
        """Load the server, tell the rate, and whether the goal is met."""
        return self.tell(name, self.loads(self.server, asks), goal)

    def tell(self, name: str, loads: Sequence[Round], goal: float) -> bool:
        """Tell the rate of loads, and whether the goal is met."""
        found = [each.rate for each in loads]
        met: bool = statistics.median(found) >= goal
        print(f"{name:42} {spread(found, '.0f')} requests/s, goal {goal:.0f}{'' if met else '  NOT MET'}")
        cpu = statistics.median(each.cpu for each in loads)
        print(f"{'':42} {cpu:.0f} us of CPU a request: {1e6 / cpu:.0f}/s of a core that does nothing else")
        return met

    def loads(self, server: Server, asks: Sequence[Ask]) -> list[Round]:
        """Load a server so many times."""
        file = self.wrk.folder / "requests"
        file.write_text("".join(ask.line() for ask in asks))
        self.wrk.script = _REQUESTS % file
        return [self.wrk.load(server, "/") for _ in range(self.rounds)]

    def ask(self, client: http.client.HTTPSConnection, ask: Ask) -> tuple[int, bytes, str]:
        headers = {"Authorization": f"Bearer {ask.token}", "If-None-Match": ask.etag}
        client.request(ask.method, ask.path, ask.body or None, headers)
        answer = client.getresponse()
        return answer.status, answer.read(), answer.getheader("ETag") or ""

    def polls(self, size: str, *, known: bool) -> list[Ask]:
        """A poll for each device, with what it has or with nothing."""
        client = connect(self.server.port, self.certificate)
        asks = []
        for node_id in self.devices[size]:
            ask = Ask("GET", "/api/device/config", self.tokens.of_device(node_id, 1))
            status, _, etag = self.ask(client, ask)
            if status != 200:
                raise Unusable(f"a poll is answered with {status}")
            asks.append(Ask("GET", ask.path, ask.token, etag if known else ""))
        client.close()
        return asks

    def heartbeats(self, size: str) -> list[Ask]:
        """A heartbeat for each device."""
        ids = self.devices[size]
        return [Ask("POST", f"/api/nodes/{each}/heartbeat", self.tokens.of_device(each, 1)) for each in ids]


def main() -> int:
    """Measure and print it; 1 where a goal is not met, 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind (default 3)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load (default 5)")
    parser.add_argument("--connections", type=int, default=50, help="keep-alive connections (default 50)")
    parser.add_argument("--fastapi-python", help="a Python that has what FastAPI's side needs")
    parser.add_argument("--without-fastapi", action="store_true", help="do not compare")
    parser.add_argument("--large", type=int, default=SIZES["large"], help="nodes of the large network")
    parser.add_argument("--only", default="", help="only measurements whose names have this")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-mesh-") as folder, ExitStack() as stack:
            return measure(options, Path(folder), stack)
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def measure(options: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    print(f"load before {load()}")
    certificate = make_certificate(folder)
    pid, port = stack.enter_context(pinned(lambda: appliance(folder, certificate, SETTINGS)))
    wrk = Wrk(folder, options.connections, options.seconds, {})
    mesh = seed(folder, certificate, Server("appliance", pid, port), wrk, options)
    measurements: dict[str, Callable[[], bool]] = {
        "sign alone": sign_alone,
        "heartbeat, 1 000 nodes": lambda: mesh.rate("heartbeat, 1 000 nodes", mesh.heartbeats("small"), 3000),
        "heartbeat, large": lambda: mesh.rate(f"heartbeat, {options.large} nodes", mesh.heartbeats("large"), 3000),
        "config 304, 1 000 nodes": lambda: mesh.rate("config 304, 1 000 nodes", mesh.polls("small", known=True), 3000),
        "config 304, large": lambda: mesh.rate(
            f"config 304, {options.large} nodes", mesh.polls("large", known=True), 3000
        ),
        "config 200, 1 000 nodes": lambda: mesh.rate("config 200, 1 000 nodes", mesh.polls("small", known=False), 2000),
        "networks list": lambda: mesh.rate("networks list", [Ask("GET", "/api/networks", mesh.owner)], 1500),
        "nodes list": lambda: mesh.rate(
            "nodes list of 1 000",
            [Ask("GET", f"/api/nodes?network_id={mesh.networks['small']}", mesh.owner)],
            60,
        ),
        "stop": lambda: longest_stop(mesh),
        "create": lambda: create(mesh),
    }
    met = [work() for name, work in measurements.items() if options.only in name]
    if not options.without_fastapi:
        compare(options, mesh, folder, stack)
    print(f"load after {load()}")
    return 0 if all(met) else 1


@contextmanager
def pinned(start: Callable[[], Any]) -> Iterator[Any]:
    """Start a server on the first core, and leave the second to us and the load."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        with start() as found:
            os.sched_setaffinity(0, {cores[-1]})
            yield found
    finally:
        os.sched_setaffinity(0, set(cores))


def seed(folder: Path, certificate: Path, server: Server, wrk: Wrk, options: argparse.Namespace) -> Mesh:
    """Make two networks with their nodes, in the server's database."""
    clock, vault = Clock(), Vault()
    clock.advance(time.time())
    vault.prepare(folder / "state" / "mesh" / "master.key")
    tokens = Tokens(clock, vault)
    owner = tokens.of_user("owner", email="owner@example.test", name="owner", system_role="user")
    mesh = Mesh(server, certificate, wrk, tokens, options.rounds, owner, {}, {})
    client = connect(server.port, certificate)
    for size, subnet in (("small", "10.1.0.0/16"), ("large", "10.2.0.0/16"), ("new", "10.64.0.0/10")):
        body = json.dumps({"name": size, "subnet_cidr": subnet})
        status, answer, _ = mesh.ask(client, Ask("POST", "/api/networks", owner, body=body))
        if status != 200:
            raise Unusable(f"a network could not be made: {status} {answer!r}")
        mesh.networks[size] = json.loads(answer)["id"]
    client.close()
    engine = create_engine(f"sqlite:///{folder / 'state' / 'appliance.db'}", connect_args={"timeout": 60})
    for size, count in (("small", SIZES["small"]), ("large", options.large), ("new", 1)):
        mesh.devices[size] = fill(engine, vault, mesh.networks[size], count)[:DEVICES]
    engine.dispose()
    return mesh


def fill(engine: Any, vault: Vault, network_id: int, count: int) -> list[int]:
    """Make nodes as the server does, a thousand in a transaction; a tenth of them in each of ten groups."""
    actor, moment = Actor(identifier="bench"), int(time.time() * 1e6)
    ids: list[int] = []
    while len(ids) < count:
        with engine.begin() as connection:
            for number in range(len(ids), min(count, len(ids) + 1000)):
                lighthouse = number < 2
                wanted = NewNode(
                    name=f"node{number}",
                    group=f"group{number % 10}",
                    is_lighthouse=lighthouse,
                    public_endpoint=f"192.0.2.{number + 1}:4242" if lighthouse else None,
                )
                made = create_in(connection, vault, actor, moment, network_id, wanted, new_host_key())
                ids.append(made.node.id)
    return ids


def sign_alone() -> bool:
    """Certificates signed in one process, nothing kept."""
    key, subnet, moment = new_signing_key(), parse_subnet("10.0.0.0/8", 1), int(time.time())
    authority = make_authority("bench", key, 1, not_before=moment, not_after=moment + 86400)
    details = Details(
        name="host",
        networks=(interface_of(subnet, "10.0.0.1"),),
        groups=("group",),
        not_before=moment,
        not_after=moment + 3600,
        public_key=new_host_key().public,
        issuer=authority.fingerprint,
    )
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < 1:
        sign(details, key, 1)
        count += 1
    rate = count / (time.perf_counter() - begin)
    print(f"{'sign alone':42} {rate:.0f} certificates/s, goal 5000{'' if rate >= 5000 else '  NOT MET'}")
    return rate >= 5000


def create(mesh: Mesh) -> bool:
    """Nodes are made, in each load others."""
    rounds, mesh.rounds = mesh.rounds, 1
    loads = [mesh.loads(mesh.server, creations(mesh))[0] for _ in range(rounds)]
    mesh.rounds = rounds
    return mesh.tell("certificates/create", loads, 300)


def creations(mesh: Mesh) -> list[Ask]:
    """Nodes to be made: more than any load gets to."""
    found = []
    for number in range(50_000):
        body = json.dumps({"network_id": mesh.networks["new"], "name": f"host{os.urandom(4).hex()}x{number}"})
        found.append(Ask("POST", "/api/certificates/create", mesh.owner, body=body))
    return found


def longest_stop(mesh: Mesh) -> bool:
    """The longest wait of one client that asks for /api/health over and over while a group changes and is polled."""
    waits: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        client = connect(mesh.server.port, mesh.certificate)
        while not ended.is_set():
            begin = time.perf_counter()
            client.request("GET", "/api/health")
            client.getresponse().read()
            waits.append(time.perf_counter() - begin)
        client.close()

    polls = mesh.polls("large", known=True)
    watcher = threading.Thread(target=watch)
    watcher.start()
    client = connect(mesh.server.port, mesh.certificate)
    network = mesh.networks["large"]
    try:
        for number in range(10):
            rule = {"allowed_group": "any", "protocol": "tcp", "port_range": str(number + 1)}
            body = json.dumps({"inbound_rules": [rule]})
            path = f"/api/networks/{network}/group-firewall/group{number}"
            status, answer, _ = mesh.ask(client, Ask("PUT", path, mesh.owner, body=body))
            if status != 200:
                raise Unusable(f"a group could not be changed: {status} {answer!r}")
            change = Ask("PATCH", f"/api/nodes/{mesh.devices['large'][number + 2]}", mesh.owner)
            change.body = json.dumps({"group": f"other{number}"})
            if mesh.ask(client, change)[0] != 200:
                raise Unusable("a node could not be changed")
            for poll in polls[: DEVICES // 10]:
                mesh.ask(client, poll)
    finally:
        client.close()
        ended.set()
        watcher.join()
    longest = max(waits) * 1000
    met = longest <= 50
    print(f"{'stop by a change of a group':42} {longest:.1f} ms at the most, goal 50{'' if met else '  NOT MET'}")
    print(f"{'':42} median {statistics.median(waits) * 1000:.2f} ms of {len(waits)} requests")
    return met


def compare(options: argparse.Namespace, mesh: Mesh, folder: Path, stack: ExitStack) -> None:
    """The heartbeat the plain way, for scale."""
    import jwt

    python = options.fastapi_python or install_fastapi(folder, "sqlalchemy", "pyjwt")
    key = os.urandom(32).hex()
    env = {"BENCH_DATABASE": str(folder / "plain.db"), "BENCH_KEY": key}
    pid, port = stack.enter_context(pinned(lambda: fastapi(python, folder, mesh.certificate, FASTAPI, env)))
    asks = []
    for number in range(1, DEVICES + 1):
        token = jwt.encode({"sub": "device", "node_id": number}, key, "HS256")
        asks.append(Ask("POST", f"/api/nodes/{number}/heartbeat", token))
    theirs = [each.rate for each in mesh.loads(Server("fastapi", pid, port), asks)]
    ours = [each.rate for each in mesh.loads(mesh.server, mesh.heartbeats("small"))]
    print(f"{'heartbeat, FastAPI and SQLAlchemy':42} {spread(theirs, '.0f')} requests/s")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"{'heartbeat, appliance / FastAPI':42} {spread(ratios)}")


if __name__ == "__main__":
    sys.exit(main())
