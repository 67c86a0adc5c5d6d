"""`appliance shell`: a shell on a server, on this terminal."""

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import click
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import deferLater

from appliance.client.command import Access, reaches_a_server, run
from appliance.client.connection import Connection
from appliance.client.errors import ClientError
from appliance.client.local_terminal import Keyboard, LocalTerminal
from appliance.client.message import Refused
from appliance.client.text import printable

PATH = "/ws/terminal"
RECONNECT_SECONDS = 60.0
"""How long a lost connection is sought again; the server keeps the shell about as long."""
RETRY_INTERVAL = 2.0
LEFT = 255
BROKEN = 1006
"""The close code of a connection that broke (RFC 6455 section 7.4.1)."""
_SIGNALLED = 128

T = TypeVar("T")


@click.command()
@reaches_a_server
@click.option("--shell", metavar="PROGRAM", help="Another shell of the server's /etc/shells than the user's own.")
def shell(access: Access, shell: str | None) -> None:
    """
    Open a shell on a server, as the user who logs in, and exit with its exit code.

    A connection that breaks is made again, and the shell goes on. Enter, ~ and . leave at once (exit code 255).
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException("A shell needs a terminal")
    terminals: list[LocalTerminal] = []

    async def work(reactor: Any, access: Access) -> int:
        terminal = LocalTerminal(reactor)
        terminals.append(terminal)
        try:
            return await _Remote(reactor, access, terminal, shell).attend()
        finally:
            terminal.leave()

    try:
        run(work, access)
    finally:
        for terminal in terminals:  # after a signal
            terminal.leave()


class _SessionFacts(msgspec.Struct):
    session: str
    complete: bool


class _Session(msgspec.Struct):
    payload: _SessionFacts


class _OutputFacts(msgspec.Struct):
    data: str


class _Output(msgspec.Struct):
    id: int
    payload: _OutputFacts


class _ExitFacts(msgspec.Struct):
    code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    signal: str | None = None


class _Exit(msgspec.Struct):
    payload: _ExitFacts


class _Remote:
    """The shell at the other end, over one connection after the other."""

    def __init__(self, reactor: Any, access: Access, terminal: LocalTerminal, shell: str | None) -> None:
        self._reactor = reactor
        self._access = access
        self._terminal = terminal
        self._shell = shell
        self._keyboard = Keyboard(reactor, self._typed, self._leave)
        self._connection: Connection | None = None
        self._session: str | None = None
        self._last = 0
        self._has_left = False
        self._cancel: Callable[[], None] = _nothing
        self._over: Deferred[None] = Deferred()

    async def attend(self) -> int:
        """Be at the shell until its end; return the exit code. Raises `ClientError`."""
        connection = await self._access.open(self._reactor, PATH)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stopping)
        try:
            while True:
                code = await self._follow(connection)
                if code is not None:
                    return code
                if self._has_left:
                    return LEFT
                if self._session is None or connection.end is None or connection.end.code != BROKEN:
                    raise ClientError(f"The server has closed the connection ({connection.end})")
                self._say("the connection is lost and sought again; Enter, ~ and . give up")
                again = await self._open_again()
                if again is None:
                    return LEFT
                connection = again
        finally:
            self._keyboard.stop()
            self._terminal.leave()
            self._over.callback(None)

    async def _follow(self, connection: Connection) -> int | None:
        """Be at the shell as long as the connection holds; its exit code where it has ended."""
        columns, rows = self._terminal.size
        request: dict[str, object] = {"cols": columns, "rows": rows}
        if self._session is not None:
            request |= {"session": self._session, "after": self._last}
        elif self._shell is not None:
            request["shell"] = self._shell
        connection.send("subscribe", payload=request)
        async for message in connection:
            match message.type:
                case "session":
                    self._begin(connection, message.decode(_Session).payload)
                case "output":
                    output = message.decode(_Output)
                    self._last = output.id
                    self._terminal.show(output.payload.data)
                case "exit":
                    exit = message.decode(_Exit).payload
                    await connection.closed()
                    return _exit_code(exit)
                case "error":
                    why = message.decode(Refused).error
                    if self._connection is None:
                        raise ClientError(why)
                    self._say(printable(why))
        self._connection = None
        return None

    def _begin(self, connection: Connection, facts: "_SessionFacts") -> None:
        if self._connection is not None:
            raise ClientError("The server begins another session in the middle of one")
        first = self._session is None
        self._session = facts.session
        self._connection = connection
        if first:
            self._terminal.enter(self._resized)
            self._keyboard.start()
        elif not facts.complete:
            self._say("some of the output is lost")
        connection.transport.registerProducer(self._keyboard, True)

    async def _open_again(self) -> Connection | None:
        """A new connection; None where nobody wants it any more. Raises `ClientError` after a minute in vain."""
        deadline = self._reactor.seconds() + RECONNECT_SECONDS
        try:
            while True:
                try:
                    return await self._unless_left(self._access.open(self._reactor, PATH))
                except ClientError:
                    if self._reactor.seconds() > deadline:
                        raise
                await self._unless_left(_sleep(self._reactor, RETRY_INTERVAL))
        except (CancelledError, ConnectingCancelledError):
            return None

    async def _unless_left(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, which `_leave` cancels."""
        waiting = Deferred.fromCoroutine(work)
        self._cancel = waiting.cancel
        try:
            return await waiting
        finally:
            self._cancel = _nothing

    def _typed(self, text: str) -> None:
        if self._connection is not None:
            self._connection.send("input", data=text)

    def _resized(self) -> None:
        if self._connection is not None:
            columns, rows = self._terminal.size
            self._connection.send("resize", cols=columns, rows=rows)

    def _leave(self) -> None:
        self._has_left = True
        if self._connection is not None:
            self._connection.close()
        self._cancel()

    def _stopping(self) -> Deferred[None]:
        """After a signal: the reactor goes on until the server knows."""
        self._leave()
        return self._over

    def _say(self, text: str) -> None:
        self._terminal.show(f"\r\n[{text}]\r\n")


async def _sleep(reactor: Any, seconds: float) -> None:
    await deferLater(reactor, seconds)


def _nothing() -> None:
    pass


def _exit_code(facts: "_ExitFacts") -> int:
    """As a shell gives it for its children: 128 and the number of the signal where it was one."""
    if facts.code is not None:
        return facts.code
    number = signal.Signals.__members__.get(facts.signal or "")
    return _SIGNALLED + (number or 0)
