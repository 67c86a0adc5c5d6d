"""Programs run in a container by CRI, which names a URL for each: the runtime's own server streams it."""

import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint

from appliance.host.containers.cri.client import CriClient
from appliance.host.containers.errors import RuntimeFailed
from appliance.host.outgoing.words import shown
from appliance.host.remote_programs.place import Opening

_URL = re.compile(
    r"http://(?P<host>(?P<name>[A-Za-z0-9._-]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>/[!-\"$-~]*)"
)
"""One without a user and a fragment, in characters that may stand in a request."""


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
        found = _URL.fullmatch(answer.url)
        port = int(found["port"] or 80) if found is not None else 0
        if found is None or not 0 < port < 65536 or not (found["name"] or isIPv6Address(found["address"])):
            raise RuntimeFailed(f"{self.peer.name} does not stream programs by plain HTTP, which alone is spoken here")
        host, rest = found["host"], found["rest"]
        plain = HostnameEndpoint(self._reactor, host.strip("[]"), port, timeout=agent.CONNECT_SECONDS)
        return Opening(
            peer=self.peer,
            endpoint=agent.Tuned(plain, agent.SIP),
            host=host,
            url=f"ws://{host}:{port}{rest}",
            headers=(),
            refusal=lambda status, body: RuntimeFailed(
                f"{self.peer.name} refuses to stream a program: {shown(body.decode('utf-8', 'replace')) or status}"
            ),
            lost=lambda error: RuntimeFailed(f"{self.peer.name} streams programs at {host}:{port}, where it fails"),
        )
