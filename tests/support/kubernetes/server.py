"""The way of a request through the double: who asks, what for, whether he may, and who answers."""

import collections
import json
from dataclasses import dataclass

from tests.support.kubernetes import executions, kinds, logs, reading, writing
from tests.support.kubernetes.answers import Refused, failure, method_not_allowed, no_page, no_resource
from tests.support.kubernetes.identity import ADMINISTRATORS, User, Wish, allowed, authenticate, forbidden
from tests.support.kubernetes.kinds import Kind
from tests.support.kubernetes.node import Node
from tests.support.kubernetes.web import Exchange, Request
from tests.support.kubernetes.world import VERSION, World

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
    "application/merge-patch+json, application/apply-patch+yaml"
)
_PATCHES = (writing.APPLY, writing.MERGE, writing.STRATEGIC)


@dataclass(frozen=True)
class Target:
    """What a path below a version means."""

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target(path: str) -> Target | None:
    """The meaning of a path; None where it is none of the API."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    else:
        namespace = ""
    if len(rest) > 3:
        return None
    plural, name, subresource = [*rest, "", "", ""][:3]
    if plural == "namespaces":
        namespace = name
    return Target(group, version, plural, namespace, name, subresource)


class Server:
    """All of it. `open` counts the streams that are open, by what they are."""

    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.node = node
        self.open: collections.Counter[str] = collections.Counter()
        self.heard: collections.deque[str] = collections.deque(maxlen=1000)
        self._streams: set[Exchange] = set()
        self._failures: list[Refused | None] = []

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        try:
            if request.path.startswith("/double/"):
                await self._control(exchange)
                return
            self.heard.append(f"{request.method} {request.target}")
            user = authenticate(request)
            if self._failures and (refusal := self._failures.pop(0)) is not None:
                raise refusal
            await self._answer(exchange, user)
        except Refused as refusal:
            if exchange.begun:
                raise
            await exchange.reply(refusal.code, refusal.body, refusal.content_type)

    async def _answer(self, exchange: Exchange, user: User) -> None:
        request = exchange.request
        found = target(request.path)
        if found is None or not found.plural:
            await self._discover(exchange, user, found)
            return
        verb = _verb(request, found)
        wish = Wish(verb, found.group, found.plural, found.namespace, found.name, found.subresource)
        if not allowed(user, wish):
            raise forbidden(user, wish)
        if not self.world.kinds.has_version(found.group, found.version):
            raise no_page() if found.group else no_resource()
        kind = self.world.kinds.find(found.group, found.version, found.plural)
        if kind is None or (found.subresource and found.subresource not in kind.subresources):
            raise no_resource()
        if request.too_large:
            raise failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        if found.subresource in ("log", "exec"):
            await self._stream(exchange, found)
        elif verb == "watch":
            await self._counted(exchange, "watch", reading.watch(self.world, kind, found.namespace, exchange))
        else:
            status, body = self._do(kind, found, request)
            await exchange.reply(status, body)

    def _do(self, kind: Kind, found: Target, request: Request) -> tuple[int, object]:
        world, name = self.world, found.name
        namespace = found.namespace if kind.namespaced else ""
        match request.method, bool(name):
            case "GET", False:
                return 200, reading.listed(world, kind, namespace, request)
            case "GET", True:
                return 200, reading.get(world, kind, namespace, name)
            case "POST", False if not kind.namespaced or namespace:
                return 201, writing.create(world, kind, namespace, request)
            case "PATCH", True if not kind.namespaced or namespace:
                content_type = request.headers.get("content-type", "").partition(";")[0].strip()
                patches = [each for each in _PATCHES if kind.schema is None or each != writing.STRATEGIC]
                if content_type not in _PATCHES:
                    raise failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
                if content_type not in patches:
                    raise failure(415, "UnsupportedMediaType", _UNKNOWN_FORMAT)
                return writing.patch(world, kind, namespace, name, request)
            case "DELETE", True if not kind.namespaced or namespace:
                return 200, writing.delete(world, kind, namespace, name, request)
        raise method_not_allowed()

    async def _stream(self, exchange: Exchange, found: Target) -> None:
        pod = reading.get(self.world, self.world.pods, found.namespace, found.name)
        if found.subresource == "log":
            await self._counted(exchange, "log", logs.send(self.node, pod, exchange))
        else:
            await self._counted(exchange, "exec", executions.run(self.node, pod, exchange))

    async def _counted(self, exchange: Exchange, what: str, stream: "collections.abc.Awaitable[None]") -> None:
        self.open[what] += 1
        self._streams.add(exchange)
        try:
            await stream
        finally:
            self.open[what] -= 1
            self._streams.discard(exchange)

    async def _discover(self, exchange: Exchange, user: User, found: Target | None) -> None:
        path = exchange.request.path.rstrip("/")
        known = self.world.kinds
        if exchange.request.method != "GET":
            raise method_not_allowed()
        if path == "/version":
            await exchange.reply(200, VERSION)
        elif path in ("/healthz", "/livez", "/readyz"):
            await exchange.reply(200, b"ok", "text/plain; charset=utf-8")
        elif path == "/api":
            port = exchange.request.headers.get("host", "")
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": port}]
            body = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
            await exchange.reply(200, body)
        elif path == "/apis":
            groups = [kinds.group_document(known, each) for each in known.groups()]
            await exchange.reply(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        elif found is not None and known.has_version(found.group, found.version):
            await exchange.reply(200, kinds.resource_list(known, found.group, found.version))
        elif path.startswith("/apis/") and path.count("/") == 2 and path.rpartition("/")[2] in known.groups():
            body = {"kind": "APIGroup", "apiVersion": "v1", **kinds.group_document(known, path.rpartition("/")[2])}
            await exchange.reply(200, body)
        elif path.startswith("/api/"):
            raise no_resource()
        elif ADMINISTRATORS in user.groups or path.startswith("/apis/"):
            raise no_page()
        else:
            text = f'forbidden: User "{user.name}" cannot get path "{exchange.request.path}"'
            raise failure(403, "Forbidden", text, {})

    async def _control(self, exchange: Exchange) -> None:
        """What tests do to the double, and ask it: no part of the API."""
        request = exchange.request
        match request.path.removeprefix("/double/"):
            case "state":
                await exchange.reply(200, {"open": dict(self.open), "heard": list(self.heard)})
                return
            case "compact":
                self.world.store.compact()
            case "sever":
                for stream in list(self._streams):
                    stream.abort()
            case "fail":
                wanted = json.loads(request.body)
                refusal = failure(wanted["code"], wanted["reason"], wanted["message"])
                self._failures += [None] * wanted.get("after", 0) + [refusal] * wanted.get("times", 1)
            case "put":
                wanted = json.loads(request.body)
                kind = self.world.kind(*wanted["kind"])
                for document in wanted["documents"]:
                    self.world.store.put(kind, {"kind": kind.name, "apiVersion": kind.api_version, **document})
            case _:
                raise no_page()
        await exchange.reply(200, {})


def _verb(request: Request, found: Target) -> str:
    if request.method in ("GET", "HEAD"):
        if found.name:
            return "get"
        return "watch" if request.flag("watch") else "list"
    if request.method == "DELETE":
        return "delete" if found.name else "deletecollection"
    return _VERBS.get(request.method, request.method.lower())
