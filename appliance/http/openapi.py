"""OpenAPI 3.1 documents, made from nothing but the declarations of endpoints.

The shapes of requests and answers come from the declared structs through msgspec's JSON Schema (dialect
2020-12, which is OpenAPI 3.1's own). What the way of a request may answer before a handler runs is added to
every operation, so that a document names each status its operations can have; a 500 would be a defect and is
not promised.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.http.endpoints import AppendedBody, Body, Endpoint, FormBody, JsonBody, RawBody
from appliance.http.errors import reason
from appliance.http.multipart_form import holds
from appliance.http.uploads import Part, Upload

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_FILE: Schema = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
ALWAYS = (400, 408, 413, 414, 431)
"""What any request may be refused with by its head or body, before its surface looks at it."""
_MEANINGS = {
    400: "The request is malformed, or something in it is refused.",
    401: "The credentials are missing, wrong or no longer valid.",
    403: "The credentials are missing or wrong, or do not suffice.",
    404: "What was asked for is not there.",
    408: "The request came too slowly.",
    409: "It conflicts with what is there or goes on.",
    413: "The body is larger than allowed.",
    414: "The request line is longer than allowed.",
    415: "The body's media type is not among those taken.",
    429: "Too many requests; `Retry-After` says in how many seconds to try again.",
    431: "The request's headers are larger than allowed.",
    503: "What it takes is not there at the moment.",
    507: "The disk has no room for the body.",
}
_VARIABLE = re.compile(r"<(?:(?P<converter>[A-Za-z_]\w*)(?:\((?P<arguments>.*?)\))?:)?(?P<name>[A-Za-z_]\w*)>")
_CONVERTERS: Mapping[str, Schema] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}


@dataclass(frozen=True)
class Refusals:
    """What a surface may answer before a handler runs: to `always` any request, to `closed` one without the rights."""

    always: tuple[int, ...] = ALWAYS
    closed: tuple[int, ...] = (403,)


def _bare(data: Schema) -> Schema:
    return data


def document(
    title: str,
    version: str,
    endpoints: Iterable[Endpoint],
    *,
    error: type[msgspec.Struct],
    prefix: str = "",
    description: str = "",
    security: Mapping[str, Mapping[str, Any]] | None = None,
    form_credentials: Mapping[str, str] | None = None,
    refusals: Refusals = Refusals(),
    envelope: Callable[[Schema], Schema] = _bare,
) -> dict[str, Any]:
    """Return the OpenAPI document of one surface, the same for the same declarations.

    `error` is the form of every refusal. `security` holds the surface's security schemes by name; an endpoint
    that is not for everybody takes any one of them. `form_credentials` names text fields, with their meaning,
    in which a form may bring the credentials instead. `refusals` are those of the way of a request, `envelope` puts
    the schema of a reply into that of the whole answer. Endpoints that are not `listed` are left out. Raises
    ValueError where two endpoints share a name, or a method and path.
    """
    listed = [endpoint for endpoint in endpoints if endpoint.listed]
    schemes = dict(security or {})
    schemas = _Schemas(error, listed)
    operations = _Operations(schemas, list(schemes), dict(form_credentials or {}), refusals, envelope)
    paths: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for endpoint in listed:
        path = prefix + _VARIABLE.sub(lambda found: "{" + found["name"] + "}", endpoint.path)
        methods = paths.setdefault(path, {})
        method = endpoint.method.lower()
        if method in methods:
            raise ValueError(f"{endpoint.method} {path} is declared twice")
        if endpoint.name in names:
            raise ValueError(f"two endpoints are named {endpoint.name}")
        names.add(endpoint.name)
        methods[method] = operations.operation(endpoint)
    components: dict[str, Any] = {"responses": operations.refusals()}
    if schemes:
        components["securitySchemes"] = {name: dict(scheme) for name, scheme in schemes.items()}
    info = {"title": title, "version": version}
    if description:
        info["description"] = description
    made = {
        "openapi": "3.1.0",
        "info": info,
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in listed) if tag],
        "paths": paths,
        "components": components,
    }
    components["schemas"] = schemas.used_by(made)
    return made


class _Schemas:
    """The JSON Schemas of every type that the endpoints name; those of structs are shared components."""

    def __init__(self, error: type[msgspec.Struct], endpoints: Iterable[Endpoint]) -> None:
        types: dict[Any, None] = {error: None}
        for endpoint in endpoints:
            body = endpoint.body.type if isinstance(endpoint.body, JsonBody | FormBody | RawBody) else None
            types.update(dict.fromkeys([_reply_type(endpoint), body, endpoint.query]))
        types.pop(None, None)
        made, self._components = msgspec.json.schema_components(
            types, schema_hook=_of_custom_type, ref_template=_REFERENCE + "{name}"
        )
        self._of = dict(zip(types, made, strict=True))
        self.error = self._of[error]

    def of(self, type: Any) -> Schema:
        """The schema of a type, for a struct a reference to its component."""
        schema: Schema = self._of[type]
        return schema

    def struct(self, type: type[msgspec.Struct]) -> Schema:
        """The schema of a struct itself."""
        schema: Schema = self._components[self._of[type]["$ref"].removeprefix(_REFERENCE)]
        return schema

    def used_by(self, made: object) -> dict[str, Schema]:
        """The components that `made` refers to, directly or through others, by name."""
        found: set[str] = set()
        waiting = list(_references(made))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += _references(self._components[name])
        return {name: self._components[name] for name in sorted(found)}


def _reply_type(endpoint: Endpoint) -> Any:
    return None if endpoint.reply is bytes or endpoint.reply is str else endpoint.reply


def _of_custom_type(type: Any) -> Schema:
    if type is Part or type is Upload:
        return dict(_FILE)
    if type is object:
        return {"description": "Any JSON value."}  # msgspec takes the empty schema for none
    raise NotImplementedError


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            if key == "$ref" and isinstance(member, str):
                if member.startswith(_REFERENCE):
                    yield member.removeprefix(_REFERENCE)
            else:
                yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


class _Operations:
    """Turns endpoints into operation objects, and remembers which refusals they have."""

    def __init__(
        self,
        schemas: _Schemas,
        security: list[str],
        form_credentials: dict[str, str],
        refusals: Refusals,
        envelope: Callable[[Schema], Schema],
    ) -> None:
        self._schemas = schemas
        self._refusals = refusals
        self._envelope = envelope
        self._security: list[dict[str, list[str]]] = [{name: []} for name in security]
        self._credentials = {
            name: {"type": "string", "description": meaning} for name, meaning in form_credentials.items()
        }
        self._refused: set[int] = set()

    def operation(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return the operation object of `endpoint`."""
        made: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary or endpoint.name}
        if endpoint.description:
            made["description"] = endpoint.description
        if endpoint.tag:
            made["tags"] = [endpoint.tag]
        parameters = [*_path_parameters(endpoint.path), *self._query_parameters(endpoint)]
        if parameters:
            made["parameters"] = parameters
        if endpoint.body is not None:
            made["requestBody"] = self._request_body(endpoint, endpoint.body)
        made["responses"] = self._responses(endpoint)
        made["security"] = [] if endpoint.who.public else self._security
        made["x-permission"] = endpoint.who.name
        return made

    def refusals(self) -> dict[str, Any]:
        """Return the responses that the operations refer to."""
        content = {"application/json": {"schema": self._schemas.error}}
        return {
            f"Error{status}": {"description": _MEANINGS.get(status, reason(status)), "content": content}
            for status in sorted(self._refused)
        }

    def _query_parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        if endpoint.query is None:
            return []
        struct = self._schemas.struct(endpoint.query)
        parameters = []
        for name, schema in struct["properties"].items():
            schema = _without_null(schema)
            meaning = schema.pop("description", None)
            parameter = {
                "name": name,
                "in": "query",
                "required": name in struct["required"],
                "schema": schema,
            }
            parameters.append(parameter if meaning is None else {**parameter, "description": meaning})
        return parameters

    def _request_body(self, endpoint: Endpoint, body: Body) -> dict[str, Any]:
        if isinstance(body, AppendedBody):
            schema = {"type": "string", "format": "binary"}
            return {"required": False, "content": {name: {"schema": schema} for name in body.media_types}}
        if isinstance(body, JsonBody | RawBody):
            schema = self._schemas.of(body.type)
            media_types = body.media_types if isinstance(body, RawBody) else ("application/json",)
            return {"required": body.required, "content": {name: {"schema": schema} for name in media_types}}
        schema = self._form(endpoint, body)
        fields = msgspec.structs.fields(body.type)
        files = {field.encode_name for field in fields if holds(field.type, Upload) or holds(field.type, Part)}
        multipart: dict[str, Any] = {"schema": schema}
        if files:
            encodings = {name: {"contentType": "application/octet-stream"} for name in sorted(files)}
            multipart["encoding"] = encodings
        content: dict[str, Any] = {"multipart/form-data": multipart}
        if not files:
            content["application/x-www-form-urlencoded"] = {"schema": schema}
        if body.json_part is not None:
            meaning = f"The content of the part `{body.json_part}` by itself."
            content["application/json"] = {"schema": {"type": "object", "description": meaning}}
        return {"required": bool(schema["required"]), "content": content}

    def _form(self, endpoint: Endpoint, body: FormBody) -> Schema:
        """A form's parts. Credentials come first: they count only before the first file."""
        struct = self._schemas.struct(body.type)
        parts = {name: _without_null(schema) for name, schema in struct["properties"].items()}
        unknown = set(body.needs) - set(parts)
        if unknown:
            raise ValueError(f"{endpoint.name} needs {', '.join(sorted(unknown))}, which its form does not have")
        credentials = {} if endpoint.who.public else self._credentials
        required = [name for name in parts if name in struct["required"] or name in body.needs]
        form = {"type": "object", "properties": {**credentials, **parts}, "required": required}
        if "description" in struct:
            form["description"] = struct["description"]
        return form

    def _responses(self, endpoint: Endpoint) -> dict[str, Any]:
        statuses = {*endpoint.statuses, *self._refusals.always}
        if not endpoint.who.public:
            statuses.update(self._refusals.closed)
        if endpoint.body is not None and not isinstance(endpoint.body, RawBody):
            statuses.add(415)
        if _VARIABLE.search(endpoint.path):
            statuses.add(404)  # the router's, for a value that the rule does not take
        refused = sorted(status for status in statuses if status >= 400)
        self._refused.update(refused)
        good = sorted({endpoint.status, *(status for status in statuses if status < 400)})
        return {
            **{str(status): self._success(endpoint, status) for status in good},
            **{str(status): {"$ref": f"#/components/responses/Error{status}"} for status in refused},
        }

    def _success(self, endpoint: Endpoint, status: int) -> dict[str, Any]:
        response: dict[str, Any] = {"description": reason(status)}
        if endpoint.reply is None or endpoint.method == "HEAD" or status in (204, 304):
            return response
        media: dict[str, Any] = {}
        if endpoint.reply is str:
            media["schema"] = {"type": "string"}
        elif endpoint.reply is not bytes:
            media["schema"] = self._envelope(self._schemas.of(endpoint.reply))
        response["content"] = {endpoint.produces: media}
        if endpoint.streams:
            response["content"][endpoint.streams] = {"schema": {"type": "string"}}
        return response


def _path_parameters(path: str) -> list[dict[str, Any]]:
    parameters = []
    for found in _VARIABLE.finditer(path):
        schema = dict(_CONVERTERS.get(found["converter"] or "", {"type": "string"}))
        if found["converter"] == "any":
            schema["enum"] = [word.strip(" \"'") for word in (found["arguments"] or "").split(",")]
        parameters.append({"name": found["name"], "in": "path", "required": True, "schema": schema})
    return parameters


def _without_null(schema: Schema) -> Schema:
    """What is optional in a query or a form is left out; neither can say null."""
    cleaned = {key: value for key, value in schema.items() if key != "default" or value is not None}
    choices = cleaned.get("anyOf")
    if choices is not None:
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) == 1:
            del cleaned["anyOf"]
            return {**left[0], **cleaned}
        cleaned["anyOf"] = left
    return cleaned
