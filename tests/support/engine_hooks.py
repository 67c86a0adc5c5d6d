"""Hooks of schemathesis: names of things that there are, which it would hardly guess, in every second request."""

import itertools
from typing import Any

import schemathesis

from tests.support.engines import IMAGE

CONTAINERS = 20
"""How many containers are called `made-NUMBER`, and images `spare:made-NUMBER`."""
_turns = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Put a name that there is into a request, and leave out what would make it wait for long."""
    turn = next(_turns)
    path, query, body = case.operation.path, case.query, case.body
    if turn % 2:
        name = f"made-{turn // 2 % CONTAINERS}"
        if "/containers/{id}" in path:
            case.path_parameters["id"] = name
        elif "/images/{id}" in path:
            case.path_parameters["id"] = f"spare:{name}"
        elif path.endswith("/docker/containers") and isinstance(body, dict):
            body["image"] = IMAGE
    if isinstance(body, dict) and isinstance(body.get("driver"), str):
        del body["driver"]  # Docker looks for 15 seconds for one that is not there
    if isinstance(query, dict):
        if path.endswith("/logs"):
            query.pop("follow", None)
        elif str(query.get("timeout", "")).isdigit():
            query["timeout"] = 1
