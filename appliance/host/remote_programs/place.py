"""Where a program is to run, as far as that differs between a cluster and a container runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.interfaces import IStreamClientEndpoint

from appliance.host.errors import HostError
from appliance.host.outgoing.peer import Peer


@dataclass(frozen=True)
class Opening:
    """The WebSocket of one program: where it is, and what it means that it is not to be had."""

    peer: Peer
    endpoint: IStreamClientEndpoint
    host: str
    """A name or an address, in brackets where it has colons."""
    url: str = field(repr=False)
    """Begins with `ws:` or `wss:`; may itself be what allows to run the program."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    refusal: Callable[[int, bytes], HostError]
    """The error for an answer of this status and body instead of a WebSocket."""
    lost: Callable[[BaseException | None], HostError]
    """The error for one that was raised by connecting, or that the connection was lost with before any answer."""


class Place(Protocol):
    """A container."""

    peer: Peer

    async def open(self, command: Sequence[str], *, terminal: bool) -> Opening:
        """What runs `command` there, with a terminal and its input or with output alone. Raises `HostError`."""
