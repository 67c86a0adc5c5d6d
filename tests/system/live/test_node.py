"""The messages of the reference's first JavaScript example, sent by node's own client over TLS."""

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
