"""`appliance top`: the figures of a server's machine, live in the terminal."""

import shutil
import sys
from typing import Any

import click

from appliance.client.command import Access, reaches_a_server, run
from appliance.client.connection import Connection
from appliance.client.errors import ClientError
from appliance.client.message import Refused
from appliance.client.sample import Sample, Samples
from appliance.client.top_screen import line, screen

PATH = "/ws/metrics"
ENTER = "\x1b[?1049h\x1b[?25l"
"""Another screen, without a cursor (xterm's control sequences, which all terminals of today know)."""
LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@reaches_a_server
@click.option("--interval", "-n", default=2, show_default=True, type=click.IntRange(1, 60), help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="End after so many samples.")
def top(access: Access, interval: int, count: int | None) -> None:
    """
    Show processors, memory, disks and network of a server, live.

    On a terminal as a screen, until Ctrl-C; elsewhere as a line for each sample.
    """
    display = _Display()

    async def work(reactor: Any, access: Access) -> int:
        connection = await access.open(reactor, PATH)
        connection.send("subscribe", payload={"interval": interval})
        try:
            await _follow(connection, display, count)
        finally:
            display.end()
        await connection.closed()
        return 0

    try:
        run(work, access)
    finally:
        display.end()  # after Ctrl-C


async def _follow(connection: Connection, display: "_Display", count: int | None) -> None:
    """Show `count` samples, or all there are. Raises `ClientError` when the server ends it."""
    samples = Samples()
    shown = 0
    async for message in connection:
        if message.type == "error":
            raise ClientError(message.decode(Refused).error)
        sample = samples.take(message) if message.type == "metric" else None
        if sample is not None:
            display.show(sample)
            shown += 1
            if shown == count:
                return
    raise ClientError(f"The server has closed the connection ({connection.end})")


class _Display:
    """The terminal's other screen, or lines where the output is no terminal."""

    def __init__(self) -> None:
        self._full = sys.stdout.isatty()
        self._entered = False

    def show(self, sample: Sample) -> None:
        """Show a sample in the place of the one before, or below it."""
        if self._full:
            width, height = shutil.get_terminal_size()
            rows = (row[:width] + _REST_OF_LINE for row in screen(sample, width)[: height - 1])
            begin = _HOME if self._entered else ENTER + _HOME
            self._entered = True
            sys.stdout.write(begin + "\r\n".join(rows) + _REST_OF_SCREEN)
        else:
            sys.stdout.write(line(sample) + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Give the terminal back; what comes next can be read."""
        if self._entered:
            self._entered = False
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
