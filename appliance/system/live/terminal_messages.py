"""What is said about a program on a terminal, whatever it runs in (system contract, "WebSockets")."""

from typing import Annotated, Literal

import msgspec

from appliance.process.terminal import Size
from appliance.system.live.messages import INVALID, BadMessage, Id

Cells = Annotated[int, msgspec.Meta(ge=1, le=1000)]


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
        text = self.data if self.data is not None or self.payload is None else self.payload.data
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


class Output(msgspec.Struct, tag_field="type", tag="output", omit_defaults=True):
    """A piece of the output; numbered where one can go on from it."""

    payload: Text
    id: int | None = None


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
    """How the program has ended: its code, or the name of a signal, as SIGHUP; both null where nobody knows.

    In a container a program that a signal has ended has a code over 128.
    """

    code: int | None
    signal: str | None = None


class Exit(msgspec.Struct, tag_field="type", tag="exit"):
    """The end."""

    payload: ExitPayload
