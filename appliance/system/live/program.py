"""
A program on a terminal in a container, whoever runs the container (system contract, "WebSockets", "exec").

    → subscribe {payload: {channel: "container-exec", command, cols, rows, user}}    all optional: a shell, 80, 24
    ← output    {payload: {data}}
    → input     {payload: {data}} or {data}
    → resize    {payload: {cols, rows}} or {cols, rows}
    ← resize    {payload: {success, cols, rows}}
    ← exit      {payload: {code, signal}}           and the socket is closed (1000)

The program ends with the socket.
"""

import codecs
import shlex
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import msgspec

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.containers.model import ExecOptions
from appliance.host.containers.runtime import Execution
from appliance.host.errors import Conflict, HostError, Invalid
from appliance.http.errors import HttpError
from appliance.process.terminal import Size
from appliance.system.envelope import translate
from appliance.system.live.channel import Channel
from appliance.system.live.messages import Incoming
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

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
"""What runs where no command is named: the better of the shells that a container may have."""

# `$(?!\n)` is the end: `$` alone also comes before a last line feed.
_Argument = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^[^\x00]*$(?!\n)")]
_User = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$(?!\n)")]


class Request(msgspec.Struct):
    """What `subscribe` asks for."""

    channel: Literal["container-exec", "pod-exec"] = "container-exec"
    command: Annotated[list[_Argument], msgspec.Meta(min_length=1, max_length=256)] | _Argument | None = None
    cols: Cells = 80
    rows: Cells = 24
    user: _User | None = None

    @property
    def arguments(self) -> list[str]:
        """The command, taken apart. Raises `Invalid`."""
        if not isinstance(self.command, str):
            return self.command or list(SHELL)
        try:
            return shlex.split(self.command) or list(SHELL)
        except ValueError:
            raise Invalid("command", "a quotation without an end") from None


class Subscribe(msgspec.Struct):
    """`subscribe`."""

    payload: Request = msgspec.field(default_factory=Request)


class Place(Protocol):
    """Where a socket's program is to run."""

    name: str
    """What the audit log calls it."""
    action: str
    """What the audit log calls running a program there; `.start` and `.end` come behind it."""

    async def execute(self, options: ExecOptions) -> tuple[Execution, Mapping[str, str]]:
        """Start a program, for the caller to close, and what the audit log is told besides. Raises `HostError`."""


class ProgramChannel(Channel):
    """One client's program."""

    def __init__(self, peer: Peer, place: Place, background: Background, trail: Trail) -> None:
        super().__init__(peer)
        self._place = place
        self._background = background
        self._trail = trail
        self._execution: Execution | None = None
        self._has_begun = False
        self._is_over = False

    async def subscribe(self, message: Incoming) -> None:
        """Start the program."""
        request = message.decode(Subscribe).payload
        if self._has_begun:
            raise Conflict("This socket has its program already")
        options = ExecOptions(request.arguments, Size(request.rows, request.cols), request.user)
        self._has_begun = True
        try:
            execution, details = await self._place.execute(options)
        except BaseException as error:
            self._has_begun = False
            outcome = f"refused: {error}" if isinstance(error, HostError) else "failed"
            await self._note("start", outcome, program=options.command[0])
            raise
        if self._is_over:  # its client has gone meanwhile; it has run, if only for a moment
            execution.close()
        else:
            self._execution = execution
            self._background.spawn("a program in a container", self._show(execution))
        await self._note("start", "success", program=options.command[0], **details)

    async def unsubscribe(self, message: Incoming) -> None:
        """End the program, and the socket with it."""
        self._here()
        self.peer.close(NORMAL, "the program is not wanted any more")

    async def input(self, message: Incoming) -> None:
        """Type; the next message waits until the program has taken this."""
        execution = self._here()
        execution.write(message.decode(Input).text.encode("utf-8", "replace"))
        await execution.writable()

    async def resize(self, message: Incoming) -> None:
        """Give the terminal another size."""
        size = message.decode(Resize).size
        await self._here().resize(size)
        self.peer.send(ResizeAnswer(Resized(True, size.rows, size.columns), message.id))

    def closed(self) -> None:
        """The client has gone."""
        self._is_over = True
        if self._execution is not None:
            self._execution.close()
            self._execution = None

    def _here(self) -> Execution:
        if self._execution is None:
            raise Conflict("There is no program; subscribe first")
        return self._execution

    async def _show(self, execution: Execution) -> None:
        """Send what the program prints, as fast as the client takes it, and how it has ended."""
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        code: int | None = None
        try:
            while output := await execution.read():
                self._send(decode(output))
                await self.peer.drained()
            self._send(decode(b"", True))
            code = None if self._is_over else await execution.exit_code()
        except HostError as error:
            if not self._is_over:
                self.peer.refuse(translate(error) or HttpError(503, str(error)))
        if not self._is_over:
            self.peer.send(Exit(ExitPayload(code)))
            self.peer.close(NORMAL, "the program has ended")
        await self._note("end", "success", code=code)

    def _send(self, text: str) -> None:
        if text:
            self.peer.send(Output(Text(text)))

    async def _note(self, what: str, outcome: str, **details: object) -> None:
        action = f"{self._place.action}.{what}"
        await self._trail.note(self.peer.caller, action, outcome, object=self._place.name, details=details)
