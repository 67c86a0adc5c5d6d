"""
`/ws/containers/exec?container,runtime`: a program in a container, on a terminal (system contract, "WebSockets").

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
from typing import Annotated, Literal

import msgspec

from appliance.background import Background
from appliance.database.trail import Trail
from appliance.host.containers.model import ExecOptions
from appliance.host.containers.runtime import Execution, Runtimes
from appliance.host.errors import Conflict, HostError, Invalid
from appliance.process.terminal import Size
from appliance.system.live.channel import Channel
from appliance.system.live.messages import INVALID, BadMessage, Id, Incoming
from appliance.system.live.peer import Peer
from appliance.websocket.frames import NORMAL

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
"""What runs where no command is named: the better of the shells that a container may have."""

STARTED, ENDED = "container.exec.start", "container.exec.end"

Cells = Annotated[int, msgspec.Meta(ge=1, le=1000)]
_Argument = Annotated[str, msgspec.Meta(max_length=4096)]


class Request(msgspec.Struct):
    """What `subscribe` asks for."""

    channel: Literal["container-exec"] = "container-exec"
    command: Annotated[list[_Argument], msgspec.Meta(min_length=1, max_length=256)] | _Argument | None = None
    cols: Cells = 80
    rows: Cells = 24
    user: Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$")] | None = None

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


class Text(msgspec.Struct):
    """What is typed or printed."""

    data: str


class Input(msgspec.Struct):
    """`input`, in its two forms."""

    payload: Text | None = None
    data: str | None = None

    @property
    def text(self) -> str:
        """What is typed. Raises `BadMessage`."""
        text = self.payload.data if self.payload is not None else self.data
        if text is None:
            raise BadMessage(INVALID, "data: is required")
        return text


class Window(msgspec.Struct):
    """A size."""

    cols: Cells
    rows: Cells


class Resize(msgspec.Struct):
    """`resize`, in its two forms."""

    payload: Window | None = None
    cols: Cells | None = None
    rows: Cells | None = None

    @property
    def size(self) -> Size:
        """The size that is asked for. Raises `BadMessage`."""
        if self.payload is not None:
            return Size(self.payload.rows, self.payload.cols)
        if self.rows is None or self.cols is None:
            raise BadMessage(INVALID, f"{'rows' if self.rows is None else 'cols'}: is required")
        return Size(self.rows, self.cols)


class Output(msgspec.Struct, tag_field="type", tag="output"):
    """A piece of the output."""

    payload: Text


class Resized(msgspec.Struct):
    """The size that holds now."""

    success: Literal[True]
    rows: int
    cols: int


class ResizeAnswer(msgspec.Struct, tag_field="type", tag="resize", omit_defaults=True):
    """The answer to `resize`."""

    payload: Resized
    id: Id | None = None


class ExitPayload(msgspec.Struct):
    """How the program has ended: `code` is null where nobody knows, and over 128 where a signal ended it."""

    code: int | None
    signal: str | None = None


class Exit(msgspec.Struct, tag_field="type", tag="exit"):
    """The end."""

    payload: ExitPayload


class ContainerExecChannel(Channel):
    """One client's program in a container."""

    def __init__(
        self, peer: Peer, runtimes: Runtimes, background: Background, trail: Trail, container: str, runtime: str
    ) -> None:
        super().__init__(peer)
        self._runtimes = runtimes
        self._background = background
        self._trail = trail
        self._container = container
        self._runtime = runtime
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
            execution, runtime = await self._runtimes.ask(
                lambda runtime: runtime.execute(self._container, options), self._runtime
            )
        except BaseException as error:
            self._has_begun = False
            outcome = f"refused: {error}" if isinstance(error, HostError) else "failed"
            await self._note(STARTED, outcome, program=options.command[0])
            raise
        if self._is_over:
            execution.close()
            return
        self._execution = execution
        self._background.spawn("a program in a container", self._show(execution))
        await self._note(STARTED, "success", program=options.command[0], runtime=runtime)

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
                self.peer.error("DOCKER_ERROR", str(error))
        if not self._is_over:
            self.peer.send(Exit(ExitPayload(code)))
            self.peer.close(NORMAL, "the program has ended")
        await self._note(ENDED, "success", code=code)

    def _send(self, text: str) -> None:
        if text:
            self.peer.send(Output(Text(text)))

    async def _note(self, action: str, outcome: str, **details: object) -> None:
        await self._trail.note(self.peer.caller, action, outcome, object=self._container, details=details)
