"""What is asked of the endpoints about containers of any runtime, and the wrappers of their replies."""

from typing import Annotated

import msgspec

from appliance.host.containers.model import Container, ContainerDetails, ContainerImage, LogOptions
from appliance.host.journal.query import make_filter

DEFAULT_LINES = "1000"
TEXT_STREAM = "text/plain; charset=utf-8"

_TAIL = f"How many of the last lines, or `all`; {DEFAULT_LINES} where not given."
_SINCE = (
    "Written then or later: RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), seconds since 1970, or so long ago: `-30s`, `-15m`,"
    " `-1h`, `-2d`, `-1w`."
)
_FOLLOW = "Send the log as plain text, and go on with what is written from now on."
_STREAM = "Send the log as plain text, of any length."
_MICROSECONDS = 1_000_000


def _text(description: str, limit: int = 64) -> msgspec.Meta:
    return msgspec.Meta(description=description, max_length=limit)


_Runtime = Annotated[str, _text("Ask this runtime alone: `docker`, `podman`, `containerd` or `cri-o`.")]


class RuntimeQuery(msgspec.Struct):
    """Which runtime is asked; the first that is there where not given."""

    runtime: _Runtime = ""


class StopQuery(msgspec.Struct):
    """How long the container gets to end by itself, in seconds; 10 where neither this nor its own setting says."""

    timeout: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None
    runtime: _Runtime = ""


class RemoveQuery(msgspec.Struct):
    """`force=true` also removes a container that runs."""

    force: bool = False
    runtime: _Runtime = ""


class LogQuery(msgspec.Struct):
    """Which lines of a log, and in which form."""

    tail: Annotated[str, msgspec.Meta(pattern=r"^(all|[0-9]{1,9})$(?!\n)", description=_TAIL)] = DEFAULT_LINES
    since: Annotated[str, _text(_SINCE)] = ""
    until: Annotated[str, _text("Written then or earlier; forms as in `since`.")] = ""
    timestamps: Annotated[bool, msgspec.Meta(description="Put the time before each line.")] = False
    follow: Annotated[bool, msgspec.Meta(description=_FOLLOW)] = False
    stream: Annotated[bool, msgspec.Meta(description=_STREAM)] = False
    stdout: Annotated[bool, msgspec.Meta(description="Lines of the standard output.")] = True
    stderr: Annotated[bool, msgspec.Meta(description="Lines of the standard error.")] = True
    runtime: _Runtime = ""

    def options(self, now: float) -> LogOptions:
        """What is wanted; `now` in seconds since 1970. Raises `Invalid`."""
        window = make_filter(now=now, since=self.since, until=self.until)
        return LogOptions(
            tail=None if self.tail == "all" else int(self.tail),
            since=None if window.since is None else window.since / _MICROSECONDS,
            until=None if window.until is None else window.until / _MICROSECONDS,
            timestamps=self.timestamps,
            follow=self.follow,
            stdout=self.stdout,
            stderr=self.stderr,
        )

    @property
    def as_stream(self) -> bool:
        """Whether the answer is the text itself."""
        return self.follow or self.stream


class ContainerList(msgspec.Struct):
    """All containers of a runtime."""

    containers: list[Container]
    count: int
    runtime: str


class ContainerReply(msgspec.Struct):
    """A container."""

    container: ContainerDetails
    runtime: str


class ContainerLog(msgspec.Struct):
    """A log; `truncated` where only its end fits into this answer."""

    container_id: str
    logs: str
    runtime: str
    truncated: bool


class ContainerImageList(msgspec.Struct):
    """All images of a runtime."""

    images: list[ContainerImage]
    count: int
    runtime: str


class ContainerChange(msgspec.Struct):
    """What was done to a container."""

    container_id: str
    action: str
    message: str
    success: bool
    runtime: str
