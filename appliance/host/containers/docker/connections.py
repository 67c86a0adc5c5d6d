"""Connections to an engine's socket. Imported when an engine is first looked for, for what it loads."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint

from appliance.host.outgoing import agent
from appliance.host.outgoing.connections import Connections

KEPT = 2
KEPT_SECONDS = 20
"""How many connections are kept without anything to do, and for how long."""


def connections(reactor: Any, path: Path) -> Connections:
    """Connections to the socket at `path`."""
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=agent.CONNECT_SECONDS)
    answers, streams = agent.Tuned(endpoint, agent.GULP), agent.Tuned(endpoint, agent.SIP)
    return Connections(reactor, answers, streams, KEPT, KEPT_SECONDS)
