"""The admin surface as the reference lists it."""

import time
from collections.abc import Callable

from tests.support.server import Answer, Server

ENDPOINTS = (
    ("POST", "/setup"),
    ("POST", "/update"),
    ("GET", "/update"),
    ("GET", "/update/log"),
    ("GET", "/logs"),
    ("GET", "/debug"),
    ("GET", "/reboot"),
    ("GET", "/services"),
    ("GET", "/version"),
    ("GET", "/changelog"),
    ("GET", "/build"),
    ("GET", "/health"),
    ("GET", "/endpoints"),
    ("POST", "/settings"),
    ("GET", "/settings"),
    ("POST", "/certs"),
    ("GET", "/certs"),
    ("POST", "/license"),
    ("GET", "/license"),
    ("POST", "/storage"),
    ("GET", "/storage"),
    ("POST", "/backup"),
    ("GET", "/backup"),
    ("GET", "/backup/download"),
    ("GET", "/backup/log"),
    ("POST", "/backup/restore"),
)
"""Method and path of every endpoint."""

REFUSED = {"Status": "403 Forbidden", "Error-Message": "Authentication error"}
"""The body of a refusal, where the first run is off."""


def post_when_idle(server: Server, path: str, *fields: str) -> Answer:
    """POST, again while the work of an earlier request is just ending."""
    return when_idle(lambda: server.post(path, *fields))


def when_idle(send: Callable[[], Answer]) -> Answer:
    """Send a request, again while the work of an earlier one is just ending."""
    answer = send()
    for _ in range(600):
        if answer.status != 400 or not answer.json.get("Error-Message", "").endswith("is already running"):
            break
        time.sleep(0.05)
        answer = send()
    return answer
