"""Logs of containers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.kubernetes.answers import bad_request, failure
from tests.support.kubernetes.node import Container, Node
from tests.support.kubernetes.web import Exchange, Request
from tests.support.kubernetes.world import Document

_TYPE = "text/plain"


def chosen(pod: Document, name: str) -> str:
    """The name of the container that is meant; the only one where none is named. Raises Refused."""
    names = [each["name"] for each in pod["spec"]["containers"]]
    title = pod["metadata"]["name"]
    if not name:
        if len(names) > 1:
            choice = f"choose one of: [{' '.join(names)}]"
            raise bad_request(f"a container name must be specified for pod {title}, {choice}")
        return str(names[0])
    if name not in names:
        raise bad_request(f"container {name} is not valid for pod {title}")
    return name


async def send(node: Node, pod: Document, exchange: Exchange) -> None:
    """The log of a container, whole or from some point on, and on as it grows. Raises Refused, Gone."""
    request = exchange.request
    options = _Options(request)
    name = chosen(pod, request.parameter("container"))
    if not pod["spec"].get("nodeName"):
        await exchange.reply(204, b"")
        return
    container = node.containers(pod).get(name)
    if container is None or not container.started:
        reason = container.state["waiting"]["reason"] if container is not None else "ContainerCreating"
        text = "image can't be pulled" if reason == "ErrImagePull" else reason
        title = pod["metadata"]["name"]
        raise bad_request(f'container "{name}" in pod "{title}" is waiting to start: {text}')
    if request.flag("previous") and not container.restarts:
        title = pod["metadata"]["name"]
        raise bad_request(f'previous terminated container "{name}" in pod "{title}" not found')
    lines, position = _begin(container, request, options)
    stamped = request.flag("timestamps")
    await exchange.begin(200, _TYPE)
    while True:
        for time, line in lines:
            await exchange.send(f"{time} ".encode() + line if stamped else line)
        if not request.flag("follow"):
            break
        if position == container.told:
            if not container.running:
                break
            await _wait(container.changed, exchange)
            if exchange.hung_up.done():
                return
        fresh = container.told - position
        lines = list(container.lines)[-fresh:] if fresh else []
        position = container.told
    await exchange.end()


class _Options:
    """What is asked of a log, in numbers. Raises Refused."""

    def __init__(self, request: Request) -> None:
        self.tail = _number(request, "tailLines")
        self.seconds = _number(request, "sinceSeconds")
        self.limit = _number(request, "limitBytes")


def _begin(container: Container, request: Request, options: _Options) -> tuple[list[tuple[str, bytes]], int]:
    lines = list(container.lines)
    since = request.parameter("sinceTime")
    if options.seconds is not None:
        since = (datetime.now(UTC) - timedelta(seconds=options.seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if since:
        lines = [each for each in lines if each[0] >= since]
    if options.tail is not None:
        lines = lines[-options.tail :] if options.tail else []
    if options.limit is not None:
        lines = _cut(lines, options.limit)
    return lines, container.told


def _cut(lines: list[tuple[str, bytes]], limit: int) -> list[tuple[str, bytes]]:
    kept: list[tuple[str, bytes]] = []
    for time, line in lines:
        kept.append((time, line[:limit]))
        limit -= len(line)
        if limit <= 0:
            break
    return kept


def _number(request: Request, name: str) -> int | None:
    text = request.parameter(name)
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if value < (1 if name != "tailLines" else 0):
        limit: Any = "0" if name != "tailLines" else "or equal to 0"
        message = f"Invalid value: {value}: must be greater than {limit}"
        cause = {"reason": "FieldValueInvalid", "message": message, "field": name}
        about = {"name": request.path.split("/")[-2], "kind": "PodLogOptions", "causes": [cause]}
        raise failure(422, "Invalid", f'PodLogOptions "{about["name"]}" is invalid: {name}: {message}', about)
    return value


async def _wait(changed: asyncio.Event, exchange: Exchange) -> None:
    waiting: asyncio.Future[Any] = asyncio.ensure_future(changed.wait())
    gone: asyncio.Future[Any] = exchange.hung_up
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
