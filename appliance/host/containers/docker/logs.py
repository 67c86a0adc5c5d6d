"""Logs of containers, as streams of nothing but what was written."""

from appliance.host.containers.docker.client import EngineClient, segment
from appliance.host.containers.docker.containers import DockerContainers
from appliance.host.containers.docker.frames import Frames
from appliance.host.containers.model import LogOptions
from appliance.host.outgoing.body import Body


class DockerLogs:
    """Reads the logs of the engine's containers."""

    def __init__(self, client: EngineClient, containers: DockerContainers) -> None:
        self._client = client
        self._containers = containers

    async def open(self, id: str, options: LogOptions) -> "LogStream":
        """The log of a container, for the caller to close. Raises `Invalid`, `Unknown`, `EngineError`."""
        has_terminal = (await self._containers.inspect(id)).config.tty
        body = await self._client.open("GET", f"/containers/{segment(id)}/logs", _query(options))
        return LogStream(body, None if has_terminal else Frames())


class LogStream:
    """The output of a container: in `frames`, or as it is where a terminal has made one stream of both."""

    def __init__(self, body: Body, frames: Frames | None) -> None:
        self._body = body
        self._frames = frames

    async def read(self) -> bytes:
        """The next piece, both streams in the order of writing; empty at the end. Raises `EngineError`."""
        while data := await self._body.read():
            output = data if self._frames is None else b"".join([piece for _, piece in self._frames.feed(data)])
            if output:
                return output
        if self._frames is not None:
            self._frames.finish()
        return b""

    def close(self) -> None:
        """Let go of it."""
        self._body.close()


def _query(options: LogOptions) -> dict[str, str]:
    query = {
        "stdout": str(int(options.stdout)),
        "stderr": str(int(options.stderr)),
        "timestamps": str(int(options.timestamps)),
        "follow": str(int(options.follow)),
        "tail": "all" if options.tail is None else str(options.tail),
    }
    if options.since is not None:
        query["since"] = f"{options.since:.6f}"
    if options.until is not None:
        query["until"] = f"{options.until:.6f}"
    return query
