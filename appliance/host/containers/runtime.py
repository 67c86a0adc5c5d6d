"""What a container runtime can be asked for, whichever it is; and which one answers."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from appliance.host.containers.errors import NoRuntime, RuntimeAbsent, RuntimeUnusable
from appliance.host.containers.model import Container, ContainerDetails, ContainerImage, ExecOptions, LogOptions
from appliance.host.errors import Invalid
from appliance.process.terminal import Size

T = TypeVar("T")


class Log(Protocol):
    """A container's log as a stream."""

    async def read(self) -> bytes:
        """The next piece, as soon as there is one; empty at the end."""

    def close(self) -> None:
        """Let go of it; called once."""


class Execution(Protocol):
    """A program on a terminal in a container."""

    async def read(self) -> bytes:
        """What it prints, as soon as there is some; empty at the end."""

    def write(self, data: bytes) -> None:
        """Type; whoever has much of it awaits `writable` in between."""

    async def writable(self) -> None:
        """Return when it has taken what was typed, or has gone."""

    async def resize(self, size: Size) -> None:
        """Give the terminal another size."""

    async def exit_code(self) -> int | None:
        """How it has ended, after `read` has come to the end; None where nobody knows."""

    def close(self) -> None:
        """Let go of it, and end it where it still runs; called once."""


class Runtime(Protocol):
    """A container runtime.

    Every method raises `RuntimeAbsent` where the runtime is not there, with nothing done; `Unknown` for a container
    that is not; `Unavailable` where the runtime fails.
    """

    names: frozenset[str]
    """What a caller may call it, as `docker`."""

    async def name(self) -> str:
        """What it is: one of its `names`."""

    async def containers(self) -> list[Container]:
        """All containers, also those that do not run."""

    async def container(self, id: str) -> ContainerDetails:
        """One container. Raises `Invalid` for what cannot be an id."""

    async def log(self, id: str, options: LogOptions) -> Log:
        """The log of a container, for the caller to close."""

    async def images(self) -> list[ContainerImage]:
        """All images."""

    async def start(self, id: str) -> str:
        """Start a container; what was done, in words. Raises `Conflict` where its state does not allow that."""

    async def stop(self, id: str, patience: int | None) -> str:
        """Stop a container, which gets `patience` seconds to end by itself (None: as is usual); what was done."""

    async def remove(self, id: str, *, force: bool) -> str:
        """Remove a container; one that runs only with `force`, else `Conflict`; what was done."""

    async def execute(self, id: str, options: ExecOptions) -> Execution:
        """Run a program in a container, for the caller to close. Raises `Conflict` for one that does not run."""


class Runtimes:
    """The runtimes this machine may have, in order of preference: the first that is there answers."""

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes

    async def ask(self, work: Callable[[Runtime], Awaitable[T]], named: str = "") -> tuple[T, str]:
        """What `work` gives, done with the first runtime that is there, and that runtime's name.

        With `named` only a runtime of that name counts. Raises `NoRuntime`, with what is missing where one is there but
        cannot be asked, `Invalid` for a name that none has, and what `work` raises.
        """
        known = [runtime for runtime in self._runtimes if not named or named in runtime.names]
        if not known:
            names = sorted(name for runtime in self._runtimes for name in runtime.names)
            raise Invalid("runtime", f"one of {', '.join(names)}")
        missing = ""
        for runtime in known:
            try:
                name = await runtime.name()
                if not named or named == name:
                    return await work(runtime), name
            except RuntimeUnusable as error:
                missing = missing or f": {error}"
            except RuntimeAbsent:
                continue
        nobody = f"{named or 'No container runtime'} is {'not ' if named else ''}running on this system"
        raise NoRuntime(nobody + missing)
