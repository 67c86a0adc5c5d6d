"""Node's own WebSocket client."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support.machine import SystemServer

CLIENT = Path(__file__).with_name("node_client.mjs")

AUTHENTICATE = """
// Authenticate
ws.send(JSON.stringify({
  type: 'auth',
  payload: { token: 'your-jwt-token' }
}));
"""
"""The first message of the reference's first example; its other examples take it for sent."""


def command() -> list[str]:
    """Node with its WebSocket, which is hidden behind an option from 20.10 until 22."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, re.findall(r"\d+", version)[:2])
    return ["node", *(["--experimental-websocket"] if (20, 10) <= (major, minor) < (22, 0) else []), "--no-warnings"]


def converse(server: SystemServer, path: str, code: str, count: int, who: str = "admin") -> list[Any]:
    """Open a path over TLS, trusting the server's certificate by NODE_EXTRA_CA_CERTS, and run an example's code on it.

    Returns the first `count` messages and, last, how it was closed.
    """
    given = {
        "url": f"wss://127.0.0.1:{server.server.port}{path}",
        "token": server.tokens[who],
        "code": code,
        "count": count,
    }
    finished = subprocess.run(
        [*server.machine.prefix, *command(), str(CLIENT)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.server.certificate)},
    )
    assert (finished.returncode, finished.stderr) == (0, ""), finished
    return [json.loads(line) for line in finished.stdout.splitlines()]
