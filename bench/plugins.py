"""
A call of a plugin: what it costs beside its bare process, and what a warm interpreter saves.

Each round calls the plugins `sh` and `python` in turn: as a bare posix_spawn with pipes, by the plugin runner as
processes, and by the plugin runner with a zygote. Latency is the median of single calls, rate that of --parallel calls
at once. The plugins read their payload and print JSON; the one in Python imports json and nothing else, which is the
least that any does. No HTTP; all in one process, so the ratios hold on a busy machine and the figures do not.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from appliance.process.command import ENVIRONMENT
from appliance.process.descriptors import trust_close_on_exec
from appliance.process.surroundings import settle
from appliance.rpc.plugins.plugins import PluginOptions, Plugins
from appliance.threads import Threads
from bench.measure import Unusable, load, memory, percentile, spread

SH = """#!/bin/sh
case "$1" in
list) echo '{"run": {}}' ;;
*) read -r payload; echo '{"result": 1}' ;;
esac
"""
PYTHON = """#!/usr/bin/python3
import json
import sys

if sys.argv[1] == "list":
    print(json.dumps({"run": {}}))
else:
    print(json.dumps({"result": json.load(sys.stdin)}))
"""
PAYLOAD = b'{"message": "hello world"}\n'
MB = 1e6


@dataclass
class Way:
    """One way to run one plugin: what it took in each round."""

    name: str
    once: Callable[[], Awaitable[None]]
    parallel: bool = True
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print; 1 where a ratio required is missed, 2 where it cannot be measured."""
    options = parse_arguments()
    settle()
    trust_close_on_exec()
    with tempfile.TemporaryDirectory(prefix="bench-plugins-") as folder:
        react(lambda reactor: Deferred.fromCoroutine(measured(reactor, options, Path(folder))))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind in a round (default 200)")
    parser.add_argument("--parallel", type=int, default=8, help="calls at once for the rate (default 8)")
    parser.add_argument("--require-spawn", type=float, help="fail where a call in sh exceeds this x its bare process")
    parser.add_argument(
        "--require-zygote", type=float, help="fail where the zygote's rate is less than this x spawning"
    )
    return parser.parse_args()


async def measured(reactor: Any, options: argparse.Namespace, folder: Path) -> None:
    try:
        code = await report(reactor, options, folder)
    except (Unusable, OSError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        code = 2
    if code:
        raise SystemExit(code)


async def report(reactor: Any, options: argparse.Namespace, folder: Path) -> int:
    paths = {}
    for name, text in (("sh", SH), ("python", PYTHON)):
        paths[name] = folder / name
        paths[name].write_text(text)
        paths[name].chmod(0o700)
    await deferLater(reactor, 0.2)  # their files count as settled
    runners = [Plugins(reactor, Threads(reactor), PluginOptions((folder,), zygote=zygote)) for zygote in (False, True)]
    for runner in runners:
        await runner.start()
    before = load()
    ways = {
        "bare sh": Way("sh, bare posix_spawn", bare(paths["sh"]), parallel=False),
        "sh": Way("sh, called", called(runners[0], "sh")),
        "bare python": Way("python, bare posix_spawn", bare(paths["python"]), parallel=False),
        "python": Way("python, called, spawned", called(runners[0], "python")),
        "zygote": Way("python, called, forked", called(runners[1], "python")),
    }
    for _ in range(options.rounds):
        for way in ways.values():
            await measure(way, options)
    for way in ways.values():
        rate = f", {spread(way.rates, '.0f')} a second" if way.rates else ""
        print(f"{way.name}: p50 {spread([each * 1000 for each in way.latencies])} ms{rate}")
    (zygote,) = runners[1]._zygotes.pids()
    print(f"the zygote: VmRSS {memory(zygote, 'VmRSS') / MB:.1f} MB")
    spawning = ratios(ways["sh"].latencies, ways["bare sh"].latencies)
    forking = ratios(ways["zygote"].rates, ways["python"].rates)
    singly = ratios(ways["python"].latencies, ways["zygote"].latencies)
    print(f"sh, called against bare: {spread(spawning)} x")
    print(f"python, forked against spawned: {spread(forking)} x the rate, {spread(singly)} x as quick")
    print(f"load before {before}, after {load()}")
    for runner in runners:
        await runner.stop()
    return int(
        (options.require_spawn is not None and statistics.median(spawning) > options.require_spawn)
        or (options.require_zygote is not None and statistics.median(forking) < options.require_zygote)
    )


def ratios(those: list[float], these: list[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(those, these, strict=True)]


async def measure(way: Way, options: argparse.Namespace) -> None:
    taken = []
    for _ in range(options.calls):
        begin = time.perf_counter()
        await way.once()
        taken.append(time.perf_counter() - begin)
    way.latencies.append(percentile(taken, 0.5))
    if way.parallel:

        async def one_after_another(count: int) -> None:
            for _ in range(count):
                await way.once()

        each = options.calls // options.parallel
        begin = time.perf_counter()
        await gatherResults([Deferred.fromCoroutine(one_after_another(each)) for _ in range(options.parallel)])
        way.rates.append(each * options.parallel / (time.perf_counter() - begin))


def called(runner: Plugins, name: str) -> Callable[[], Awaitable[None]]:
    """A call through the runner."""

    async def once() -> None:
        outcome = await runner.call(name, "run", PAYLOAD, timeout=60)
        if outcome.kind != "exited" or not outcome.output:
            raise Unusable(f"a call of {name} ended by {outcome.kind}")

    return once


def bare(path: Path) -> Callable[[], Awaitable[None]]:
    """A bare process."""

    async def once() -> None:
        bare_call(path)

    return once


def bare_call(path: Path) -> None:
    """The least there is: one process with three pipes, waited for without a reactor."""
    pipes = [os.pipe() for _ in range(3)]
    theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(theirs)]
    argv = [str(path), "call", "run"]
    pid = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=actions, setsid=True)
    for end in theirs:
        os.close(end)
    os.write(pipes[0][1], PAYLOAD)
    os.close(pipes[0][1])
    output = os.read(pipes[1][0], 4096)
    os.waitpid(pid, 0)
    os.close(pipes[1][0])
    os.close(pipes[2][0])
    if not output:
        raise Unusable(f"{path.name} prints nothing")


if __name__ == "__main__":
    main()
