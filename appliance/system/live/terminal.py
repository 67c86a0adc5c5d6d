"""
`/ws/terminal`: a shell on a terminal (system contract, "WebSockets").

    → subscribe {payload: {cols, rows, shell}}      all optional: 80, 24, the user's own
    ← session   {payload: {session, cols, rows, shell, pid, reattached, complete}}
    ← output    {payload: {data}, id}               `id` numbers them
    → input     {data} or {payload: {data}}
    → resize    {cols, rows} or {payload: {cols, rows}}
    ← resize    {payload: {success, cols, rows}}
    ← exit      {payload: {code, signal}}           and the socket is closed (1000)

A client that closes its socket in good order, or sends `unsubscribe`, ends the shell. After a connection that broke, or
a page that was left (1001), it lives on for a while: `subscribe {payload: {session, after}}` goes on with it, where
`after` is the `id` of the last output that arrived. `complete` is false where some of what came after is lost.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from appliance.database.trail import Trail
from appliance.host.errors import Conflict, HostError
from appliance.host.terminals.output import Piece
from appliance.host.terminals.session import Ended, Reason, TerminalSession
from appliance.host.terminals.terminals import Terminals
from appliance.identity.caller import Caller
from appliance.process.errors import ProcessError
from appliance.process.terminal import Size
from appliance.system.live.channel import Channel
from appliance.system.live.messages import Id, Incoming, encode
from appliance.system.live.peer import Peer
from appliance.system.live.terminal_messages import (
    Cells,
    Exit,
    ExitPayload,
    Input,
    Output,
    Resize,
    ResizeAnswer,
    Resized,
    Text,
)
from appliance.websocket.frames import NORMAL

TAKEN_OVER = 4409
POLICY_VIOLATION = 1008

REFUSALS = 5
"""Attempts of one connection that may be refused. Each is written down, and nobody shall fill the audit log."""


class Request(msgspec.Struct):
    """What `subscribe` asks for."""

    cols: Cells = 80
    rows: Cells = 24
    shell: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    session: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    after: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Subscribe(msgspec.Struct):
    """`subscribe`."""

    payload: Request = msgspec.field(default_factory=Request)


class SessionFacts(msgspec.Struct):
    """What a client is told of its terminal."""

    session: str
    cols: int
    rows: int
    shell: str
    pid: int
    reattached: bool
    complete: bool


class SessionAnswer(msgspec.Struct, tag_field="type", tag="session", omit_defaults=True):
    """The answer to `subscribe`."""

    payload: SessionFacts
    id: Id | None = None


class TerminalChannel(Channel):
    """One client's terminal; the viewer of its session."""

    def __init__(self, peer: Peer, terminals: Terminals, trail: Trail) -> None:
        super().__init__(peer)
        self._terminals = terminals
        self._witness = _Witness(trail, peer.caller)
        self._session: TerminalSession | None = None
        self._refusals = 0
        self._is_over = False

    async def subscribe(self, message: Incoming) -> None:
        """Open a terminal, or go on with one."""
        request = message.decode(Subscribe).payload
        if self._session is not None:
            raise Conflict("This socket has its terminal already")
        if self._refusals >= REFUSALS:
            self.peer.close(POLICY_VIOLATION, "too many attempts")
            return
        try:
            session, complete = await self._find(request)
        except (HostError, ProcessError):
            self._refusals += 1
            raise
        self._session = session
        if self._is_over:
            self._let_go()
            return
        facts = SessionFacts(
            session=session.id,
            cols=request.cols,
            rows=request.rows,
            shell=session.login.program,
            pid=session.pid,
            reattached=request.session is not None,
            complete=complete,
        )
        self.peer.send(SessionAnswer(facts, message.id))

    async def unsubscribe(self, message: Incoming) -> None:
        """End the terminal; `exit` follows."""
        self._here().hang_up(Reason.CLOSED)

    async def input(self, message: Incoming) -> None:
        """Type; the next message waits until the program has read so much that more may come."""
        await self._here().type(message.decode(Input).text)

    async def resize(self, message: Incoming) -> None:
        """Give the window another size."""
        size = message.decode(Resize).size
        self._here().resize(size)
        self.peer.send(ResizeAnswer(Resized(True, rows=size.rows, cols=size.columns), message.id))

    def revoked(self) -> None:
        """End the terminal: its user may not have it any more."""
        if self._session is not None:
            self._session.hang_up(Reason.REVOKED)

    def closed(self) -> None:
        """The client has gone, for good or not."""
        self._is_over = True
        self._let_go()

    # What the session calls, as its viewer

    @property
    def slow(self) -> bool:
        """Whether the client does not keep up."""
        return self.peer.slow

    async def drained(self) -> None:
        """Return when it has caught up or gone."""
        await self.peer.drained()

    def show(self, piece: Piece) -> None:
        """Send a piece of the output."""
        self.peer.send(encode(Output(Text(piece.text), piece.number)))

    def ended(self, ended: Ended) -> None:
        """Tell how the shell has ended, and close."""
        self._session = None
        if ended.reason in (Reason.IDLE, Reason.REVOKED):
            self.peer.error("TERMINAL_CLOSED", f"The terminal was closed: {ended.reason.value}")
        self.peer.send(Exit(ExitPayload(ended.code, ended.signal)))
        self.peer.close(NORMAL, "the shell has ended")

    def replaced(self) -> None:
        """Close: the terminal is shown elsewhere now."""
        self._session = None
        self.peer.close(TAKEN_OVER, "the terminal is used over another connection")

    async def _find(self, request: Request) -> tuple[TerminalSession, bool]:
        """The terminal that is asked for, and whether all of its output is there."""
        size = Size(request.rows, request.cols)
        account = self.peer.account
        if request.session is None:
            return await self._terminals.open(account, request.shell or None, size, self, self._witness), True
        return await self._terminals.reattach(account, request.session, size, self, self._witness, request.after)

    def _here(self) -> TerminalSession:
        if self._session is None:
            raise Conflict("There is no terminal; subscribe first")
        return self._session

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            if self.peer.has_left:
                session.hang_up(Reason.CLOSED)
            session.detach(self)


class _Witness:
    """Writes in the audit log what the client of one connection does."""

    def __init__(self, trail: Trail, caller: Caller) -> None:
        self._trail = trail
        self._caller = caller

    async def record(self, action: str, object: str, outcome: str, details: Mapping[str, object]) -> None:
        await self._trail.note(self._caller, action, outcome, object=object, details=details)
