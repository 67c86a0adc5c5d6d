"""Endpoints are declared once, on the method that answers them; everything else follows from the declaration.

A surface's folder holds classes like this one; `bind` turns an instance into its list of `Endpoint` values:

    class VersionEndpoints:
        routes = Routes(prefix="/version", tag="information")

        @routes.get("", reply=Version, who=administrator)
        async def version(self, call: Call) -> Version: ...
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from appliance.identity.caller import Permission

Handler = Callable[..., Awaitable[object]]
HandlerT = TypeVar("HandlerT", bound=Handler)

DEFAULT_BODY_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON body, decoded into the struct `type`; `limit` in bytes. An empty body is None where not `required`."""

    type: type[msgspec.Struct]
    limit: int = DEFAULT_BODY_LIMIT
    required: bool = True


@dataclass(frozen=True, slots=True)
class FormBody:
    """A form (multipart/form-data or, without files, urlencoded), decoded into the struct `type`.

    A field's annotation says how its part is taken: `str` is text, `Part` small and held in memory, `Upload` a file
    that is streamed to disk. `limit` bounds the whole body in bytes. With `json_part` a plain `application/json` body
    is taken as that part. `needs` names, for the documentation, the optional parts without which the handler refuses in
    its own words.
    """

    type: type[msgspec.Struct]
    limit: int = 2 * 1024 * 1024
    json_part: str | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppendedBody:
    """A body of any bytes that is appended to the file the guard has put into `Call.append_to`."""

    media_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body of at most `limit` bytes that the handler gets as it came, whatever type is announced, and decodes itself.

    For what is refused in a surface's own words, is passed on as it is, or is decoded in a thread. `type` and
    `media_types` are what the documentation says of it.
    """

    type: type[msgspec.Struct]
    limit: int = DEFAULT_BODY_LIMIT
    media_types: tuple[str, ...] = ("application/json",)
    required: bool = True


Body = JsonBody | FormBody | AppendedBody | RawBody


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One declared operation. `path` is a Werkzeug rule, complete once the surface has put its prefix before it.

    `produces` is the media type of a good answer, `streams` that of one that is streamed instead because the client
    wants it so; `statuses` are the codes besides 200 that the documentation shall name; `audit` is the action in the
    audit log, None where nothing changes; `cancellable` says whether a client that goes away ends the handler (reads)
    or not (changes run to their end once their body is complete); `guard`, a method declared above it in the same
    class, is called with the `Call` once the caller is known and before the body is read, and refuses by raising an
    `HttpError`; what the path's `secret_parameters` hold is in no log.
    """

    name: str
    method: str
    path: str
    tag: str
    who: Permission
    handler: Handler
    reply: Any
    body: Body | None
    query: type[msgspec.Struct] | None
    audit: str | None
    status: int
    statuses: tuple[int, ...]
    produces: str
    cancellable: bool
    listed: bool
    summary: str
    description: str
    guard: Callable[..., Awaitable[None]] | None = None
    secret_parameters: tuple[str, ...] = ()
    streams: str = ""


_ATTRIBUTE = "__appliance_endpoint__"


@dataclass(frozen=True, slots=True)
class Routes:
    """Collects the declarations of one class. `prefix` stands before each path, `tag` groups them in the docs."""

    prefix: str = ""
    tag: str = ""

    def get(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a GET; for the options see `Endpoint`."""
        return self._declare("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a POST; for the options see `Endpoint`."""
        return self._declare("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a PUT; for the options see `Endpoint`."""
        return self._declare("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a PATCH; for the options see `Endpoint`."""
        return self._declare("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a DELETE; for the options see `Endpoint`."""
        return self._declare("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT]:
        """Declare a HEAD; for the options see `Endpoint`."""
        return self._declare("HEAD", path, **options)

    def _declare(
        self,
        method: str,
        path: str,
        *,
        who: Permission,
        reply: Any = None,
        body: Body | None = None,
        query: type[msgspec.Struct] | None = None,
        audit: str | None = None,
        status: int = 200,
        statuses: tuple[int, ...] = (),
        produces: str = "application/json",
        streams: str = "",
        cancellable: bool | None = None,
        listed: bool = True,
        name: str | None = None,
        guard: Callable[..., Awaitable[None]] | None = None,
        secret_parameters: tuple[str, ...] = (),
    ) -> Callable[[HandlerT], HandlerT]:
        def declare(handler: HandlerT) -> HandlerT:
            summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
            endpoint = Endpoint(
                name=name or handler.__name__,
                method=method,
                path=self.prefix + path,
                tag=self.tag,
                who=who,
                handler=handler,
                reply=reply,
                body=body,
                query=query,
                audit=audit,
                status=status,
                statuses=statuses,
                produces=produces,
                streams=streams,
                cancellable=method in ("GET", "HEAD") if cancellable is None else cancellable,
                listed=listed,
                summary=summary,
                description=description.strip(),
                guard=guard,
                secret_parameters=secret_parameters,
            )
            setattr(handler, _ATTRIBUTE, endpoint)
            return handler

        return declare


def bind(instance: object) -> list[Endpoint]:
    """Return the endpoints declared on `instance`'s class, in the order of declaration, bound to the instance."""
    found = []
    for function in vars(type(instance)).values():
        declared: Endpoint | None = getattr(function, _ATTRIBUTE, None)
        if declared is not None:
            guard = declared.guard and getattr(instance, declared.guard.__name__)
            found.append(replace(declared, handler=getattr(instance, declared.handler.__name__), guard=guard))
    return found
