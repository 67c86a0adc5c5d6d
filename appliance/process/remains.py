"""
Ends what runs for this process when it is killed, even by SIGKILL.

Each process that shall not outlive us has a row in a table in memory, shared with `remains_child.py`: that sleeps until
its pipe to us closes, and then ends what the rows name. A row is written before its process is started, with the pipe
that will be its standard output, and gets pid and start time after that: at no moment is there a process without one.
"""

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from appliance.process.command import ENVIRONMENT
from appliance.process.descriptors import duplicate_above
from appliance.process.errors import ProcessError
from appliance.process.pipes import pipe_to_child
from appliance.process.reactor import ProcessReactor
from appliance.process.spawn import OwnChild, spawn
from appliance.process.watch import ProcessMark

PROGRAM = Path(__file__).absolute().with_name("remains_child.py")

_CELLS = 3  # inode of the pipe, pid, start time: native unsigned 64 bits each, 0 for none
_CELL = 8
_TABLE = 3
_LOWEST = 8
_PAUSE = 5.0
"""Seconds after which one who ends the remains is replaced, where it has gone or could not be started."""


class Remains:
    """The table, and the process that waits for our end. `start` before the first row, `stop` after the last."""

    _log = Logger()

    def __init__(self, reactor: ProcessReactor, rows: int) -> None:
        self._reactor = reactor
        self._size = rows * _CELLS * _CELL
        self._free = list(range(rows))
        self._descriptor = -1
        self._pipe = -1
        self._child: OwnChild | None = None
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Make the table, and have somebody wait. Raises `OSError`."""
        table = os.memfd_create("remains")
        try:
            os.write(table, bytes(self._size))
            self._memory = mmap.mmap(table, self._size)
            self._cells = memoryview(self._memory).cast("Q")
            self._descriptor = duplicate_above(table, _LOWEST)
        finally:
            os.close(table)
        self._wait()

    async def stop(self) -> None:
        """Need nobody any more; return when he is gone."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._child is not None:
            gone = self._child.ended.wait()
            self._child.kill()
            await gone
        self._cells.release()
        self._memory.close()

    @contextmanager
    def row(self) -> Iterator["Row"]:
        """A row for one process, as long as that may run. There must be one free."""
        number = self._free.pop()
        first = number * _CELLS
        with self._cells[first : first + _CELLS] as cells:
            try:
                yield Row(cells)
            finally:
                cells[0] = cells[1] = cells[2] = 0
        self._free.append(number)

    def _wait(self) -> None:
        """Start the one who waits. It is a small shell until there is something to do."""
        argv = ["/bin/sh", "-c", 'read -r _; exec "$@"', "sh", sys.executable, "-I", "-S", str(PROGRAM)]
        try:
            pipe = pipe_to_child()
            try:
                self._child = spawn(
                    self._reactor, argv, env=ENVIRONMENT, descriptors={0: pipe.theirs, _TABLE: self._descriptor}
                )
            except BaseException:
                os.close(pipe.ours)
                raise
            finally:
                os.close(pipe.theirs)
        except (OSError, ProcessError) as error:
            self._again(str(error))
            return
        self._pipe = pipe.ours
        _ = self._child.ended.wait().addBoth(self._gone)

    def _gone(self, how: object) -> None:
        os.close(self._pipe)
        self._child = None
        if self._descriptor >= 0:
            self._again(str(how))

    def _again(self, why: str) -> None:
        self._log.error("Nobody would end what is left when this process is killed: {why}", why=why)
        self._timer = self._reactor.callLater(_PAUSE, self._wait)


class Row:
    """What there is to know of one process."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells

    def expect(self, output: int) -> None:
        """A process is about to be started, with the pipe `output` as its standard output and nobody else's."""
        self._cells[0] = os.fstat(output).st_ino

    def started(self, pid: int) -> None:
        """It has been started, as the leader of a session; it has not been reaped."""
        mark = ProcessMark.of(pid)
        if mark is None:  # it has, by who takes up all children: there is nothing to end
            self._cells[0] = 0
            return
        self._cells[2] = mark.start_time
        self._cells[1] = mark.pid
