"""`appliance logs`: the log of a server's machine."""

from typing import Any

import click
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

from appliance.client.command import INTERRUPTED, Access, reaches_a_server, run
from appliance.client.connection import Connection
from appliance.client.errors import ClientError, Unreachable
from appliance.client.log_lines import Entry, lines
from appliance.client.log_progress import Progress
from appliance.client.message import Refused
from appliance.client.output import Output
from appliance.client.text import printable

PATH = "/ws/logs"
MAX_LINES = 10_000
FOLLOWED_LINES = 10

BROKEN_PIPE = 141
"""The exit code when nobody reads our output any more, as shells have it: 128 and the number of SIGPIPE."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_WATCH_SECONDS = 1.0
_TRIES = 5
_FOR_NOW = ("SERVICE_UNAVAILABLE", "RATE_LIMITED")


@click.command()
@reaches_a_server
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--unit", metavar="NAME", help="Only this systemd unit or syslog identifier.")
@click.option("--priority", "-p", metavar="LEVEL", help="Only this priority and more severe ones, as warning or 4.")
@click.option("--since", "-S", metavar="TIME", help="From then on: 2025-08-01 10:30:00 (UTC), RFC 3339, -1h.")
@click.option("--until", "-U", metavar="TIME", help="Up to then.")
@click.option(
    "--lines",
    "-n",
    "count",
    type=click.IntRange(0, MAX_LINES),
    help=f"Only the newest so many [default: all --since; else {FOLLOWED_LINES} with --follow, 100 without].",
)
def logs(access: Access, follow: bool, count: int | None, **filters: str | None) -> None:
    """
    Show a server's log, the oldest entry first.

    A connection that is lost is made again, and the log goes on after the last entry that was shown.
    """
    if count is None and follow and filters["since"] is None:
        count = FOLLOWED_LINES

    async def work(reactor: Any, access: Access) -> int:
        progress = Progress({**filters, "lines": count, "follow": follow}, reactor.seconds)
        return await _Reading(reactor, access, progress, Output(), patient=follow).run()

    run(work, access)


class _Data(msgspec.Struct):
    payload: Entry


class _Reading:
    """One run of the command. A `patient` one tries for ever to get a lost connection back."""

    def __init__(self, reactor: Any, access: Access, progress: Progress, output: Output, *, patient: bool) -> None:
        self._reactor = reactor
        self._access = access
        self._progress = progress
        self._output = output
        self._patient = patient
        self._pause = _FIRST_PAUSE
        self._failures = 0

    async def run(self) -> int:
        """Print everything and return the exit code. Raises `ClientError`."""
        reading = Deferred.fromCoroutine(self._read())
        watch = LoopingCall(self._watch, reading)
        watch.clock = self._reactor
        watching = watch.start(_WATCH_SECONDS)
        self._reactor.addSystemEventTrigger("before", "shutdown", reading.cancel)  # Ctrl-C
        try:
            await reading
        except CancelledError:
            return BROKEN_PIPE if self._output.is_broken else INTERRUPTED
        finally:
            watch.stop()
            await watching
        return 0

    def _watch(self, reading: Deferred[None]) -> None:
        self._output.look()
        if self._output.is_broken:
            reading.cancel()

    async def _read(self) -> None:
        connection = await self._access.open(self._reactor, PATH)
        while not await self._show(connection):
            connection = await self._again(f"The connection is lost ({connection.end})")

    async def _again(self, why: str) -> Connection:
        """Open the connection again, when that is possible."""
        click.echo(f"{printable(why)}; trying again", err=True)
        while True:
            self._failures += 1
            if self._failures > _TRIES and not self._patient:
                raise ClientError(why)
            await deferLater(self._reactor, self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            try:
                return await self._access.open(self._reactor, PATH)
            except Unreachable as error:
                why = str(error)

    async def _show(self, connection: Connection) -> bool:
        """Print what comes; True when that was all, False when the connection is lost."""
        connection.send("subscribe", payload={"filters": self._progress.filters()})
        async for message in connection:
            match message.type:
                case "data":
                    self._failures, self._pause = 0, _FIRST_PAUSE
                    entry = message.decode(_Data).payload
                    if self._progress.is_new(entry):
                        self._output.write(lines(entry, colours=self._output.colours))
                    if self._output.is_broken:
                        raise CancelledError
                case "end":
                    await connection.closed()
                    return True
                case "error":
                    refused = message.decode(Refused)
                    if not self._failures or refused.code not in _FOR_NOW:
                        raise ClientError(refused.error)
                    connection.close()
        return False
