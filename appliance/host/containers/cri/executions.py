"""Programs run in a container by CRI, which names a URL for each: the runtime's own server streams it."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import HostnameEndpoint

from appliance.host.containers.cri.client import CriClient
from appliance.host.containers.errors import RuntimeFailed
from appliance.host.outgoing.words import shown
from appliance.host.remote_programs.place import Opening


class ContainerPlace:
    """The container of this whole id, which runs; implements `Place`."""

    def __init__(self, reactor: Any, client: CriClient, id: str) -> None:
        self.peer = client.peer
        self._reactor = reactor
        self._client = client
        self._id = id

    async def open(self, command: Sequence[str], *, terminal: bool) -> Opening:
        """See `Place`. What comes by TLS is not spoken: runtimes stream so with certificates that nobody can check."""
        from appliance.host.outgoing import agent

        answer = await self._client.call(
            "Exec", container_id=self._id, cmd=list(command), tty=terminal, stdin=terminal, stdout=True
        )
        url = answer.url
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host, port, parts = None, 0, urlsplit("")
        if parts.scheme != "http" or not host:
            raise RuntimeFailed(f"{self.peer.name} does not stream programs by plain HTTP, which alone is spoken here")
        plain = HostnameEndpoint(self._reactor, host, port, timeout=agent.CONNECT_SECONDS)
        return Opening(
            peer=self.peer,
            endpoint=agent.Tuned(plain, agent.SIP),
            host=parts.netloc.removesuffix(f":{port}"),
            url=f"ws{url.removeprefix('http')}",
            headers=(),
            refusal=lambda status, body: RuntimeFailed(
                f"{self.peer.name} refuses to stream a program: {shown(body.decode('utf-8', 'replace')) or status}"
            ),
            lost=lambda error: RuntimeFailed(f"{self.peer.name} streams programs at {parts.netloc}, where it fails"),
        )
