"""Calls to a runtime: whether its socket is there, what of gRPC is loaded for it, and what a refusal means."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.host.containers.cri.failures import NOT_THERE, CallFailed, meaning
from appliance.host.containers.errors import RuntimeAbsent, RuntimeFailed, RuntimeUnusable
from appliance.host.outgoing.peer import Peer
from appliance.threads import Threads

if TYPE_CHECKING:
    from appliance.host.containers.cri.connection import Connection

ANSWER_SECONDS = 30.0
_NAME_SECONDS = 10.0


class CriClient:
    """Asks the runtime whose socket is the first there is of `places`, looked for at each call anew."""

    def __init__(self, reactor: Any, threads: Threads, places: Sequence[Path]) -> None:
        self.peer = Peer(f"The container runtime at {places[0]}", RuntimeFailed)
        self._reactor = reactor
        self._threads = threads
        self._places = places
        self._connection: Connection | None = None
        self._identity: tuple[object, ...] = ()
        self._closed = False
        # Read when gRPC is loaded, set before there are threads. What it does at a fork is for children that go on with
        # gRPC; ours execute other programs, and were seen to crash in it before that.
        os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

    async def name(self) -> str:
        """What the runtime calls itself: `containerd`, `cri-o`. Raises `RuntimeAbsent` or `RuntimeFailed`.

        It is asked each time, for it may have gone since the last.
        """
        path, answer = await self._ask("Version", _NAME_SECONDS, {}, absent=True)
        return answer.runtime_name or str(path)

    async def call(self, method: str, seconds: float = ANSWER_SECONDS, **fields: object) -> Any:
        """The answer to a method of `METHODS`, a message, called with these fields, within `seconds`.

        Raises `RuntimeAbsent` where there is no socket, what `meaning` makes of a refusal, and `RuntimeFailed`.
        """
        return (await self._ask(method, seconds, fields))[1]

    def close(self) -> None:
        """Let go of the connection, for good. Calls in progress fail."""
        self._closed = True
        self._drop()

    async def _ask(
        self, method: str, seconds: float, fields: dict[str, object], *, absent: bool = False
    ) -> tuple[Path, Any]:
        """Call; with `absent` a runtime that is not connected to counts as absent, for nothing is done by the call."""
        path, identity = self._find()
        connection = await self._connected(path, identity)
        try:
            return path, await connection.call(method, seconds, fields)
        except CallFailed as failed:
            if absent and failed.status == NOT_THERE:
                raise RuntimeAbsent(f"nothing answers at {path}") from None
            raise meaning(failed, self.peer, seconds) from None

    def _find(self) -> tuple[Path, tuple[object, ...]]:
        """The socket, and what tells it from one that is made later. Raises `RuntimeAbsent`."""
        for path in self._places:
            try:
                found = os.stat(path)
            except OSError:
                continue
            if stat.S_ISSOCK(found.st_mode):
                return path, (path, found.st_dev, found.st_ino, found.st_ctime_ns)
        raise RuntimeAbsent(f"there is no {' nor '.join(map(str, self._places))}")

    async def _connected(self, path: Path, identity: tuple[object, ...]) -> "Connection":
        if self._connection is None or self._identity != identity:
            made = await self._threads.run(_connect, self._reactor, path)
            if self._closed or (self._connection is not None and self._identity == identity):  # two may have asked
                made.close()
            else:
                self._drop()
                self._connection, self._identity = made, identity
        if self._connection is None:
            raise RuntimeAbsent("the server stops")
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(reactor: Any, path: Path) -> "Connection":
    try:
        from appliance.host.containers.cri.connection import Connection
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("grpc", "google"):
            raise
        raise RuntimeUnusable(
            f"there is a container runtime at {path}, but to ask it, {error.name} is missing or does not load here;"
            " pip install 'appliance[cri]' brings it"
        ) from error
    return Connection(reactor, path)
