"""
The rpc surface over HTTPS: calls of plugins, many live tokens, memory after large bodies. All in one run.

A call of a plugin in sh is held against a bare posix_spawn of it, with pipes and without a reactor: medians of single
calls over one keep-alive connection. A plugin in Python is called forked from the zygote and, exempt from it, started
each time: rates over --parallel connections. An authenticated GET (2fa) is asked of a server with one live token and of
one with --tokens of them. Memory is VmRSS of proc(5) before and a while after bodies of 16 MB. One user, `root`.
"""

import argparse
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from appliance.rpc.passwords import hash_password
from appliance.secret import Secret
from bench.measure import (
    HOST,
    ROOT,
    Unusable,
    connect,
    cpu_seconds,
    free_port,
    load,
    make_certificate,
    memory,
    percentile,
    running,
    spread,
)
from bench.plugins import PYTHON, SH, bare_call

PASSWORD = "a password for the benchmark"
MB = 1e6
LARGE = 16_000_000
"""Bytes, just below [rpc] payload_limit_mb with what surrounds it."""


@dataclass
class Served:
    """A server of ours, and a token of `root`."""

    pid: int
    port: int
    certificate: Path
    token: str

    def client(self) -> "Client":
        return Client(connect(self.port, self.certificate), self.token)


@dataclass
class Client:
    """One keep-alive connection."""

    connection: http.client.HTTPSConnection
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise Unusable(f"{method} {path} is answered with {response.status} {content[:200]!r}")
        return content

    def call(self, name: str, payload: bytes = b'{"message":"hello world"}') -> bytes:
        return self.ask(
            "POST", "/api/ubus/call", b'{"path":"%b","method":"run","payload":%b}' % (name.encode(), payload)
        )

    def ask_for_second_factor(self) -> bytes:
        return self.ask("GET", "/api/2fa")

    def close(self) -> None:
        self.connection.close()


def main() -> int:
    """Measure and print; 1 where a figure required is missed, 2 where it cannot be measured."""
    options = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-rpc-") as folder, ExitStack() as servers:
            return report(options, Path(folder), servers)
    except (Unusable, OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind in a round (default 200)")
    parser.add_argument("--parallel", type=int, default=8, help="connections for the rates (default 8)")
    parser.add_argument("--tokens", type=int, default=5000, help="live tokens (default 5000)")
    parser.add_argument("--require", action="store_true", help="fail where a figure of the rpc contract is missed")
    return parser.parse_args()


def report(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    certificate = make_certificate(folder)
    plugins = folder / "plugins"
    plugins.mkdir(mode=0o700)
    for name, text in (("sh", SH), ("forked", PYTHON), ("started", PYTHON), ("size", SIZE)):
        (plugins / name).write_text(text)
        (plugins / name).chmod(0o700)
    one = servers.enter_context(served(folder / "one", certificate, plugins, tokens=1))
    many = servers.enter_context(served(folder / "many", certificate, plugins, tokens=options.tokens))
    before = load()
    spawning, forking, tokens, costs = [], [], [], []
    for _ in range(options.rounds):
        bare = single(partial(bare_call, plugins / "sh"), options.calls)
        client = one.client()
        called = single(partial(client.call, "sh"), options.calls)
        forked = single(partial(client.call, "forked"), options.calls)
        client.close()
        spawning.append((bare, called, forked))
        rates, used = [], []
        for name in ("forked", "started"):
            begin = cpu_seconds(one.pid, ended=True)
            rates.append(rate(one, partial(Client.call, name=name), options))
            used.append((cpu_seconds(one.pid, ended=True) - begin) / options.calls)
        forking.append(rates)
        costs.append(used)
        tokens.append([rate(each, Client.ask_for_second_factor, options) for each in (one, many)])
    ratios = [called / bare for bare, called, _ in spawning]
    print(f"sh: bare {milliseconds([each[0] for each in spawning])}")
    print(f"  called {milliseconds([each[1] for each in spawning])}")
    print(f"  called against bare: {spread(ratios)} x")
    gains = [forked / started for forked, started in forking]
    print(f"python: called, forked {milliseconds([each[2] for each in spawning])}")
    print(f"  {per_second([each[0] for each in forking])} forked, {per_second([each[1] for each in forking])} started")
    print(f"  forked against started: {spread(gains)} x the rate")
    forked_cpu, started_cpu = ([1000 * each[index] for each in costs] for index in (0, 1))
    times = [started / forked for forked, started in costs]
    print(f"  CPU of the server and all its processes: {spread(forked_cpu)} ms a call forked")
    print(f"  {spread(started_cpu)} ms started, {spread(times)} x that")
    shares = [with_many / with_one for with_one, with_many in tokens]
    print(f"GET 2fa: {per_second([each[0] for each in tokens])} with one token")
    print(f"  with {options.tokens}: {per_second([each[1] for each in tokens])}, {spread(shares)} of it")
    growth = after_large_bodies(one)
    print(f"memory after bodies of {LARGE / MB:.0f} MB: {growth / MB:+.1f} MB")
    print(f"load before {before}, after {load()}")
    met = (
        statistics.median(ratios) <= 2.2
        and statistics.median(gains) >= 5
        and statistics.median(shares) >= 0.9
        and growth <= 50 * MB
    )
    return int(options.require and not met)


SIZE = """#!/bin/sh
case "$1" in
list) echo '{"run": {}}' ;;
*) printf '{"size": %d}' "$(wc -c)" ;;
esac
"""


@contextmanager
def served(folder: Path, certificate: Path, plugins: Path, *, tokens: int) -> Iterator[Served]:
    """Our server, with so many live tokens of `root`."""
    state, port = folder / "state", free_port()
    (state / "tls").mkdir(parents=True, mode=0o700)
    (state / "tls" / "server.pem").write_bytes(certificate.read_bytes())
    (state / "tls" / "server.pem").chmod(0o600)
    (state / "rpc-users.toml").write_text(f'[user.root]\npassword_hash = "{hash_password(Secret(PASSWORD))}"\n')
    (state / "rpc-users.toml").chmod(0o600)
    settings = folder / "appliance.toml"
    settings.write_text(
        f'[rpc]\nplugin_directories = ["{plugins}"]\nrate_limit_per_second = 0\nzygote_exempt = ["started"]\n'
        'unaudited_methods = ["* *"]\n'
    )
    twistd = Path(sys.executable).with_name("twistd")
    argv = [*(str(twistd), "-n", "--pidfile=", "appliance"), *("--config", str(settings), "--state", str(state))]
    argv += ["--https", f"{HOST}:{port}"]
    environment = {"PYTHONPATH": str(ROOT)}
    with running(argv, port, folder / "appliance.log", environment):
        token = log_in(port, certificate)
    with closing(sqlite3.connect(state / "appliance.db")) as database, database:
        columns = "username, address, credential, pending, created_at, expires_at"
        for _ in range(tokens - 1):
            database.execute(
                f"INSERT INTO rpc_sessions (jti, {columns}) SELECT ?, {columns} FROM rpc_sessions LIMIT 1",
                (os.urandom(16).hex(),),
            )
    with running(argv, port, folder / "appliance.log", environment) as pid:
        time.sleep(1)  # the plugins have been asked, the zygote is there
        yield Served(pid, port, certificate, token)


def log_in(port: int, certificate: Path) -> str:
    connection = connect(port, certificate)
    body = json.dumps({"username": "root", "password": PASSWORD})
    connection.request("POST", "/api/login", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    if response.status != 200:
        raise Unusable(f"log-in is answered with {response.status} {content}")
    token: str = content["token"]
    return token


def single(once: Callable[[], object], count: int) -> float:
    """The median time of one, in seconds."""
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        once()
        taken.append(time.perf_counter() - begin)
    return percentile(taken, 0.5)


def rate(server: Served, once: Callable[[Client], object], options: argparse.Namespace) -> float:
    """How many a second over several connections."""
    clients = [server.client() for _ in range(options.parallel)]
    for client in clients:
        once(client)
    failures: list[Exception] = []

    def load_one(client: Client) -> None:
        try:
            for _ in range(options.calls // options.parallel):
                once(client)
        except (Unusable, OSError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=load_one, args=(client,)) for client in clients]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    for client in clients:
        client.close()
    if failures:
        raise Unusable(str(failures[0]))
    done: int = options.calls // options.parallel * options.parallel
    return done / took


def after_large_bodies(server: Served) -> int:
    """Bytes that are resident more than before."""
    client = server.client()
    client.call("size")
    before = memory(server.pid, "VmRSS")
    payload = json.dumps({"x": "y" * (LARGE - 10)}).encode()
    for _ in range(3):
        if json.loads(client.call("size", payload))["data"]["size"] != len(payload):
            raise Unusable("a large payload did not arrive whole")
    client.close()
    time.sleep(3)
    return memory(server.pid, "VmRSS") - before


def milliseconds(seconds: list[float]) -> str:
    return f"p50 {spread([each * 1000 for each in seconds])} ms"


def per_second(rates: list[float]) -> str:
    return f"{spread(rates, '.0f')} a second"


if __name__ == "__main__":
    sys.exit(main())
