"""
How long a server's reactor is busy between two looks at its descriptors, noted by the server itself.

`watched` gives the environment of a server that does so: a folder with a `sitecustomize.py` stands before all others in
its path, and puts a clock around the epoll object of Twisted's reactor. What takes more than five milliseconds becomes
a line in a file: milliseconds of the wall's clock, and of the thread's own, which others' work does not lengthen.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import ROOT, memory, reset_peak

BUSY_GOAL = 20.0
"""Milliseconds of its own for which a reactor may be busy at once."""

_PROGRAM = """
import os, select, time

import twisted.internet.epollreactor as epollreactor

NOTES = open({notes!r}, "a", buffering=1)


class Clocked:
    def __init__(self, *sizes):
        self._epoll = select.epoll(*sizes)
        self._wall = time.perf_counter()
        self._thread = time.thread_time()

    def poll(self, *limits):
        wall, thread = time.perf_counter() - self._wall, time.thread_time() - self._thread
        if wall > 0.005:
            NOTES.write("%.3f %.3f\\n" % (wall * 1000, thread * 1000))
        found = self._epoll.poll(*limits)
        self._wall, self._thread = time.perf_counter(), time.thread_time()
        return found

    def __getattr__(self, name):
        return getattr(self._epoll, name)


epollreactor.epoll = Clocked
"""


@dataclass
class Busy:
    """The notes of one server."""

    notes: Path
    environment: dict[str, str]

    def forget(self) -> None:
        """Begin anew."""
        self.notes.write_text("")

    def longest(self) -> tuple[float, float]:
        """Milliseconds of the longest time since `forget`: by the wall's clock, by the thread's; 0 for less than 5."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return max((float(wall) for wall, _ in lines), default=0.0), max((float(own) for _, own in lines), default=0.0)


def watched(folder: Path) -> Busy:
    """The notes of a server that is started with the environment they name."""
    code = folder / "watched"
    code.mkdir()
    notes = code / "notes"
    notes.write_text("")
    (code / "sitecustomize.py").write_text(_PROGRAM.format(notes=str(notes)))
    return Busy(notes, {"PYTHONPATH": f"{code}:{ROOT}"})


def busy_with(tasks: Mapping[str, Callable[[], None]], busy: Busy, pid: int) -> bool:
    """Do one after the other, and print how long that keeps the server `pid` busy; whether the goal is met by all."""
    print(f"\nlongest time that the reactor is busy, ms (goal {BUSY_GOAL:g}); memory at the peak, MB")
    good = True
    for name, task in tasks.items():
        busy.forget()
        before = memory(pid, "VmRSS")
        reset_peak(pid)
        began = time.perf_counter()
        task()
        took = time.perf_counter() - began
        wall, own = busy.longest()
        grown = (memory(pid, "VmHWM") - before) / 1e6
        print(f"  {name:25} {wall:6.1f} by the wall, {own:6.1f} by itself; +{grown:5.1f}; {took:.1f} s")
        good = good and own <= BUSY_GOAL
    return good
