"""Get, list and watch."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.support.kubernetes import selectors
from tests.support.kubernetes.answers import Refused, bad_request, failure, not_found
from tests.support.kubernetes.kinds import Kind
from tests.support.kubernetes.selectors import Test
from tests.support.kubernetes.store import Change
from tests.support.kubernetes.web import Exchange, Request
from tests.support.kubernetes.world import Document, World

_BOOKMARK_SECONDS = 60.0
_WATCH_SECONDS = 1800.0
_FAREWELL_SECONDS = 2.0  # a last bookmark comes so long before the end of a watch


def get(world: World, kind: Kind, namespace: str, name: str) -> Document:
    """One object. Raises Refused."""
    found = world.store.get(kind, namespace, name)
    if found is None:
        raise not_found(kind.plural, kind.group, name)
    return found


def _number(request: Request, name: str) -> int:
    text = request.parameter(name)
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _selection(kind: Kind, request: Request) -> Test:
    by_label = selectors.labels(request.parameter("labelSelector"))
    by_field = selectors.field_test(request.parameter("fieldSelector"), kind.plural)
    return lambda document: by_label(document) and by_field(document)


def listed(world: World, kind: Kind, namespace: str, request: Request) -> Document:
    """A list, or a page of one. Raises Refused."""
    selection = _selection(kind, request)
    limit, token = _number(request, "limit"), request.parameter("continue")
    version = request.parameter("resourceVersion")
    if version and token:
        raise bad_request("specifying resource version is not allowed when using continue")
    if version and _version(version) > world.store.version:
        raise _in_the_future(_version(version), world.store.version)
    found = [each for each in world.store.all(kind, namespace) if selection(each)]
    store = world.store
    documents, metadata = store.next_page(token, limit, found) if token else store.page(found, limit)
    if request.parameter("labelSelector") or request.parameter("fieldSelector"):
        metadata.pop("remainingItemCount", None)
    if kind.schema is None:
        documents = [
            {name: value for name, value in each.items() if name not in ("kind", "apiVersion")} for each in documents
        ]
    else:
        metadata.setdefault("continue", "")
    return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": documents}


def _version(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise failure(500, "", message) from None


def _in_the_future(wanted: int, current: int) -> Refused:
    about = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return failure(504, "Timeout", f"Timeout: Too large resource version: {wanted}, current: {current}", about)


async def watch(world: World, kind: Kind, namespace: str, exchange: Exchange) -> None:
    """A stream of changes. Raises Refused before it begins, Gone."""
    request = exchange.request
    selection = _selection(kind, request)
    seconds = _number(request, "timeoutSeconds") or _WATCH_SECONDS
    bookmarks = request.flag("allowWatchBookmarks")
    version = _version(request.parameter("resourceVersion") or "0")
    await exchange.begin(200, "application/json")
    told = world.store.version
    if version == 0:
        for document in [each for each in world.store.all(kind, namespace) if selection(each)]:
            await exchange.send(_line("ADDED", document))
    else:
        told = version
    marked, begun = told, told  # bookmarks tell of changes of this kind only, and never of none
    listener = world.store.listen()
    loop = asyncio.get_running_loop()
    end, bookmark = loop.time() + seconds, loop.time() + min(_BOOKMARK_SECONDS, max(seconds - _FAREWELL_SECONDS, 0.1))
    try:
        while loop.time() < end:
            listener.clear()
            changes = world.store.since(told)
            if changes is None:
                message = f"too old resource version: {told} ({world.store.oldest})"
                await exchange.send(_line("ERROR", failure(410, "Expired", message).body))
                break
            for change in changes:
                told = change.version
                if change.key == kind.key:
                    marked = told
                    if line := _told(change, namespace, selection):
                        await exchange.send(line)
            if bookmarks and loop.time() >= bookmark:
                if marked > begun:
                    await exchange.send(_line("BOOKMARK", _mark(kind, marked)))
                bookmark = loop.time() + _BOOKMARK_SECONDS
            if await _wait(listener, exchange, min(end, bookmark if bookmarks else end) - loop.time()):
                return
    finally:
        world.store.forget(listener)
    await exchange.end()


async def _wait(listener: asyncio.Event, exchange: Exchange, seconds: float) -> bool:
    """Wait for a change or the time; whether the client has gone."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(listener.wait())
    try:
        gone: asyncio.Future[Any] = exchange.hung_up
        await asyncio.wait({waiting, gone}, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        return gone.done()
    finally:
        waiting.cancel()


def _told(change: Change, namespace: str, selection: Test) -> bytes | None:
    """A change as somebody with this selection sees it."""
    before = change.before if change.before is not None and _within(change.before, namespace, selection) else None
    after = change.after if change.after is not None and _within(change.after, namespace, selection) else None
    if after is not None:
        return _line("ADDED" if before is None else "MODIFIED", after)
    if before is not None:
        last = change.last if change.last is not None else {**before, "metadata": _at(before, change.version)}
        return _line("DELETED", last)
    return None


def _at(document: Mapping[str, Any], version: int) -> Document:
    return {**document["metadata"], "resourceVersion": str(version)}


def _within(document: Mapping[str, Any], namespace: str, selection: Test) -> bool:
    return (not namespace or document["metadata"].get("namespace", "") == namespace) and selection(document)


def _mark(kind: Kind, version: int) -> Document:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}


def _line(kind: str, document: object) -> bytes:
    return json.dumps({"type": kind, "object": document}, separators=(",", ":")).encode() + b"\n"
