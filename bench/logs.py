"""
The log under load, over TLS on the loopback interface of a network namespace. Needs root and systemd-journal-remote.

pages: page 900 of GET logs against page 1, of 100 000 entries: the ratio of their times (goal: at most 2).

stalled: one client reads, another one does not for so many seconds in which so many lines a second are written; whether
both get every line, the growth of the server's own memory (RssAnon of proc(5)), and how long the second takes for the
rest once it reads.

clients: fifty clients with five filters while lines are written; the server's CPU time and that of its journalctls, in
per cent of one core.
"""

import argparse
import http.client
import json
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import Unusable, cpu_seconds, load, memory, spread
from tests.support.journal import BASE, PLAIN, Writer, append, numbered, record
from tests.support.live_socket import LiveSocket, live_socket
from tests.support.machine import SystemServer, system_server
from tests.support.processes import children, wait_for

RATIO_GOAL = 2.0
MEMORY_GOAL = 20 << 20
FILTERS = ({"unit": "u0"}, {"unit": "u1"}, {"unit": "u2"}, {"priority": "err"}, {"unit": "u1", "priority": "err"})
TICK = 0.05


@contextmanager
def server() -> Iterator[tuple[SystemServer, Path]]:
    """The real server in a machine of its own, and the file that its journal is to be written to."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        journal.mkdir()
        config = f'websocket_limit = 100\njournal_directory = "{journal}"\n'
        with system_server(Path(folder), config) as found:
            yield found, journal / "system.journal"


def pages(given: argparse.Namespace) -> bool:
    """Page 900 against page 1."""
    with server() as (found, file):
        append(file, numbered(0, 100_000))
        context = ssl.create_default_context(cafile=str(found.server.certificate))
        plain = found.machine.connect("127.0.0.1", found.server.port)
        client = http.client.HTTPConnection("127.0.0.1", found.server.port, timeout=60)
        client.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")

        def page(number: int) -> float:
            began = time.perf_counter()
            authorization = {"Authorization": f"Bearer {found.tokens['admin']}"}
            client.request("GET", f"/api/v1/logs?page={number}&page_size=100", headers=authorization)
            response = client.getresponse()
            body = json.loads(response.read())
            if response.status != 200 or body["data"]["total_count"] != 100_000 or len(body["data"]["logs"]) != 100:
                raise Unusable(f"page {number}: {response.status}")
            return (time.perf_counter() - began) * 1000

        print(f"first request, which counts: {page(1):.0f} ms")
        firsts, lasts = [], []
        for _ in range(given.rounds):
            firsts.append(page(1))
            lasts.append(page(900))
        ratio = statistics.median(lasts) / statistics.median(firsts)
        print(f"page 1: {spread(firsts)} ms; page 900: {spread(lasts)} ms; ratio {ratio:.2f} (goal {RATIO_GOAL:g})")
        return ratio <= RATIO_GOAL


def stalled(given: argparse.Namespace) -> bool:
    """A client that does not read."""
    lines = given.rate * given.seconds
    with ExitStack() as stack:
        found, file = stack.enter_context(server())
        stream = stack.enter_context(Stream(file, given.rate, lines))
        reading, other = (stack.enter_context(live_socket(found, "/ws/logs")) for _ in range(2))
        for socket in (reading, other):
            socket.say("subscribe", payload={"filters": {"unit": "app", "lines": 0}})
        wait_for(lambda: len(following(found)) == 1 == len(journalctls(found)), "the follower")
        time.sleep(1)
        growth = stack.enter_context(Growth(found.server.pid))
        cpu, began = cpu_seconds(found.server.pid), time.perf_counter()
        stream.begin()
        whole = read(reading, lines)
        took = time.perf_counter() - began
        share = (cpu_seconds(found.server.pid) - cpu) / took
        began = time.perf_counter()
        whole = read(other, lines) and whole
        rest = time.perf_counter() - began
    print(f"{lines} lines, {given.rate} a second: {'every line' if whole else 'NOT every line'} came to both, in order")
    print(f"to the reader in {took:.1f} s, with {share:.0%} of a core for the server and its journalctls")
    print(f"to the other one in {rest:.1f} s once it read, {lines / rest:.0f} lines a second")
    print(f"memory grew by {growth.most / 2**20:.1f} MiB at most (goal {MEMORY_GOAL >> 20})")
    return whole and growth.most <= MEMORY_GOAL


def clients(given: argparse.Namespace) -> bool:
    """Fifty clients with five filters."""
    lines = given.rate * given.seconds
    with server() as (found, file), ExitStack() as stack:
        append(file, numbered(0, 10))
        writer = Writer(file)
        stack.callback(writer.close)
        sockets = [stack.enter_context(live_socket(found, "/ws/logs")) for _ in range(50)]
        for number, socket in enumerate(sockets):
            socket.say("subscribe", payload={"filters": {**FILTERS[number % 5], "lines": 0}})
        wait_for(lambda: len(following(found)) == 5 == len(journalctls(found)), "five followers")
        time.sleep(1)
        cpu, began = cpu_seconds(found.server.pid), time.perf_counter()
        heard, part = 0, given.rate // 10
        for begin in range(10, 10 + lines, part):
            writer.write(numbered(begin, part))
            for number, socket in enumerate(sockets):
                wanted = sum(matches(FILTERS[number % 5], each) for each in range(begin, begin + part))
                for _ in range(wanted):
                    socket.hear()
                heard += wanted
            time.sleep(max(0.0, began + (begin + part) / given.rate - time.perf_counter()))
        took = time.perf_counter() - began
        share = (cpu_seconds(found.server.pid) - cpu) / took
        print(f"{lines} lines, {heard} messages to 50 clients in {took:.1f} s: {share:.0%} of a core")
        return len(following(found)) == 5


class Growth:
    """How much a process's own memory has grown since the beginning, at most."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._before = memory(pid, "RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Growth":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.most = max(self.most, memory(self._pid, "RssAnon") - self._before)


class Stream:
    """Writes `lines` entries to a journal, `rate` a second, from a thread."""

    def __init__(self, file: Path, rate: int, lines: int) -> None:
        append(file, numbered(0, 10))
        self._writer = Writer(file)
        self._rate = rate
        self._lines = lines
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread.ident is not None:
            self._thread.join()
        self._writer.close()

    def begin(self) -> None:
        """Begin to write."""
        self._thread.start()

    def _write(self) -> None:
        count, began = round(self._rate * TICK), time.perf_counter()
        for begin in range(0, self._lines, count):
            numbers = range(begin, min(self._lines, begin + count))
            self._writer.write(
                record(BASE + 10**9 + number, {**PLAIN, "SYSLOG_IDENTIFIER": "app", "MESSAGE": message(number)})
                for number in numbers
            )
            time.sleep(max(0.0, began + (begin + count) / self._rate - time.perf_counter()))


def message(number: int) -> str:
    """A line of 540 bytes: more of them than the kernel's buffers hold."""
    return f"line {number}: " + "the quick brown fox jumps over the lazy dog " * 12


def read(socket: LiveSocket, lines: int) -> bool:
    """Read so many entries; tells whether they are those that were written, in order."""
    return all(socket.hear()["payload"]["message"] == message(number) for number in range(lines))


def matches(filters: dict[str, str], number: int) -> bool:
    """Whether an entry of `numbered` is wanted."""
    return filters.get("unit") in (None, f"u{number % 3}") and ("priority" not in filters or number % 8 <= 3)


def journalctls(found: SystemServer) -> list[str]:
    """The command lines of the server's journalctl processes."""
    lines = []
    for pid in children(found.server.pid):
        try:
            lines.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [line for line in lines if "journalctl" in line.partition(" ")[0]]


def following(found: SystemServer) -> list[str]:
    """Those that follow."""
    return [line for line in journalctls(found) if "--follow" in line]


def main() -> int:
    """Measure what is asked for; 1 where a goal is missed, 2 where nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for function in (pages, stalled, clients):
        part = parts.add_parser(function.__name__, help=function.__doc__)
        part.set_defaults(run=function)
        part.add_argument("--rounds", type=int, default=25)
        part.add_argument("--rate", type=int, default=5000 if function is stalled else 1000, help="lines a second")
        part.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    print(f"load {load()}")
    try:
        return 0 if given.run(given) else 1
    except Unusable as problem:
        print(problem, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
