"""Programs run in a pod on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from appliance.host.containers.model import ExecOptions
from appliance.host.errors import Invalid
from appliance.host.kubernetes.client import ClusterClient, segment
from appliance.host.kubernetes.errors import CLUSTER
from appliance.host.kubernetes.exec_failures import refusal
from appliance.host.kubernetes.failures import explained
from appliance.host.remote_programs.executions import RemoteExecution, RemoteExecutions
from appliance.host.remote_programs.place import Opening
from appliance.threads import Threads

_COMMAND_LIMIT = 32 * 1024
"""Bytes of a command as it stands in the URL; servers take some more."""


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container of a pod; `container` "" is its only one, or the one that the pod prefers."""

    namespace: str
    pod: str
    container: str

    def resource(self, command: Sequence[str], *, terminal: bool) -> str:
        """The path and query that run `command` there. Raises `Invalid` for one that is too long."""
        wanted = [("stdout", "true"), ("stdin", str(terminal).lower()), ("tty", str(terminal).lower())]
        if self.container:
            wanted.append(("container", self.container))
        query = urlencode([*wanted, *(("command", argument) for argument in command)])
        if len(query) > _COMMAND_LIMIT:
            raise Invalid("command", f"more than {_COMMAND_LIMIT >> 10} KiB")
        return f"/api/v1/namespaces/{segment(self.namespace)}/pods/{segment(self.pod)}/exec?{query}"


class ClusterExecutions:
    """Starts programs in a cluster's pods; see `RemoteExecutions`."""

    def __init__(self, reactor: Any, client: ClusterClient, threads: Threads) -> None:
        self._reactor = reactor
        self._client = client
        self._executions = RemoteExecutions(reactor, threads)

    async def run(self, container: PodContainer, options: ExecOptions) -> RemoteExecution:
        """Start a program, for the caller to close. The names in `container` are such as may be.

        Raises `Invalid`, `Forbidden`, `Unknown`, `Conflict` for a container that does not run, `Rejected` for one that
        the pod has not, `ClusterAbsent`, `ClusterError`.
        """
        return await self._executions.run(_PodPlace(self._reactor, self._client, container), options)

    async def stop(self) -> None:
        """Return when what was closed has ended."""
        await self._executions.stop()


class _PodPlace:
    """A container of a pod; implements `Place`."""

    peer = CLUSTER

    def __init__(self, reactor: Any, client: ClusterClient, container: PodContainer) -> None:
        self._reactor = reactor
        self._client = client
        self._container = container

    async def open(self, command: Sequence[str], *, terminal: bool) -> Opening:
        """See `Place`."""
        from appliance.host.outgoing import agent

        resource = self._container.resource(command, terminal=terminal)
        target = await self._client.target()
        server = target.server
        return Opening(
            peer=CLUSTER,
            endpoint=target.endpoint(self._reactor, agent.SIP),
            host=server.authority.rpartition(":")[0],
            url=f"{'wss' if server.secure else 'ws'}://{server.authority}{server.prefix}{resource}",
            headers=target.headers,
            refusal=lambda status, body: refusal(status, body, target.context),
            lost=lambda error: explained(error, server.authority),
        )
