"""A curl command for an OpenAPI operation, to be pasted once the words in capitals are filled in."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from appliance.http.schema_rows import type_in_words

Operation = Mapping[str, Any]
_SAMPLES: Mapping[str, object] = {"string": "TEXT", "integer": 0, "number": 0, "boolean": False, "array": []}


def curl_example(document: Mapping[str, Any], path: str, method: str, base_url: str) -> str:
    """Return the command for `method` (in lower case) of `path`; `base_url` has no slash at its end."""
    operation = document["paths"][path][method]
    components = document["components"]
    query, headers = _credentials(operation, components.get("securitySchemes", {}))
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", _placeholder(parameter["name"]))
        elif parameter["required"]:
            query.append(f"{parameter['name']}={_placeholder(parameter['name'])}")
    credentials = {scheme.get("name") for scheme in components.get("securitySchemes", {}).values()}
    body = _body(operation.get("requestBody"), components.get("schemas", {}), credentials)
    words = ["curl", "--cacert", "appliance.pem"]
    if method == "head":
        words.append("--head")
    elif method not in ("get", "post") or (method == "post" and not body):
        words += ["-X", method.upper()]
    for header in headers:
        words += ["-H", header]
    words += body
    if _is_download(operation):
        words.append("-OJ")
    words.append(base_url + path + ("?" + "&".join(query) if query else ""))
    return shlex.join(words)


def _placeholder(name: str) -> str:
    return name.replace("-", "_").upper()


def _credentials(operation: Operation, schemes: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Query parameters and headers of the first way to prove oneself that a command line can go."""
    for requirement in operation.get("security", ()):
        for name in requirement:
            scheme = schemes[name]
            if scheme["type"] == "http" and scheme["scheme"].lower() == "bearer":
                return [], ["Authorization: Bearer YOUR_TOKEN"]
            if scheme["type"] == "apiKey" and scheme["in"] == "query":
                return [f"{scheme['name']}=YOUR_{_placeholder(scheme['name'])}"], []
    return [], []


def _body(body: Mapping[str, Any] | None, components: Mapping[str, Any], credentials: set[str]) -> list[str]:
    if body is None:
        return []
    form = body["content"].get("multipart/form-data")
    if form is None:
        media_type = next(iter(body["content"]))
        if media_type != "application/json":
            return ["-H", f"Content-Type: {media_type}", "--data-binary", "@FILE"]
        content = json.dumps(_sample(body["content"][media_type]["schema"], components))
        return ["-H", f"Content-Type: {media_type}", "-d", content]
    schema = form["schema"]
    words = []
    for name in schema["required"] or [part for part in schema["properties"] if part not in credentials]:
        is_file = type_in_words(schema["properties"][name], components) == "file"
        words += ["-F", f"{name}=@{_placeholder(name)}_FILE" if is_file else f"{name}={_placeholder(name)}"]
    return words


def _sample(schema: Mapping[str, Any], components: Mapping[str, Any]) -> object:
    """The required members of an object, each with a value of its type; nested objects stay empty."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties", {})
    return {
        name: _SAMPLES.get(str(properties[name].get("type")), {})
        for name in schema.get("required", ())
        if name in properties
    }


def _is_download(operation: Operation) -> bool:
    return any(
        "application/octet-stream" in response.get("content", ()) for response in operation["responses"].values()
    )
