"""The messages of the reference's JavaScript examples, sent by node's own client over TLS."""

from pathlib import Path

from tests.support.machine import system_server
from tests.support.node import AUTHENTICATE, converse

METRICS = (
    AUTHENTICATE
    + """
// Subscribe to metrics
ws.send(JSON.stringify({ type: 'subscribe' }));
"""
)


def test_live_metrics(tmp_path: Path) -> None:
    with system_server(tmp_path) as server:
        greeting, *metrics, end = converse(server, "/ws/metrics", METRICS, 11)
    assert greeting == {"type": "auth", "payload": {"authenticated": True, "username": "admin"}}
    assert [message["metric"] for message in metrics] == 2 * ["cpu", "memory", "disk", "network", "load"]
    assert all(set(message) == {"type", "metric", "timestamp", "data"} for message in metrics)
    assert metrics[0]["timestamp"] < metrics[5]["timestamp"]
    assert end == {"closed": 1000}


TERMINAL = (
    AUTHENTICATE
    + """
ws.send(JSON.stringify({
  type: 'subscribe',
  payload: {
    cols: 80,
    rows: 24,
    shell: '/bin/bash'
  }
}));

// Send input
ws.send(JSON.stringify({
  type: 'input',
  data: 'ls -la\\n'
}));
"""
)


def test_terminal(tmp_path: Path) -> None:
    """The third example; a line is added that ends the shell."""
    with system_server(tmp_path) as server:
        server.machine.run("touch", "/home/admin/a-file-of-his")
        end = "ws.send(JSON.stringify({ type: 'input', data: 'exit 3\\n' }));"
        _, session, *output, ended, closed = converse(server, "/ws/terminal", TERMINAL + end, 10**6)
    assert session["type"] == "session"
    assert {message["type"] for message in output} == {"output"}
    assert "a-file-of-his" in "".join(message["payload"]["data"] for message in output)
    assert ended == {"type": "exit", "payload": {"code": 3, "signal": None}}
    assert closed == {"closed": 1000}
