"""The documentation page: OpenAPI documents as HTML for people, one page without scripts or downloads.

It is built of Twisted's template tags, which escape every text and attribute that goes into them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRenderable
from twisted.web.template import Tag, flattenString, tags

from appliance.http.curl_example import curl_example
from appliance.http.docs_style import STYLE
from appliance.http.run_now import run_now
from appliance.http.schema_rows import bounds_in_words, rows, type_in_words

Document = Mapping[str, Any]
Node = str | Tag | IRenderable
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def render(title: str, documents: Sequence[Document], *, base_url: str = "https://HOST:8443") -> bytes:
    """Return the page for `documents`, UTF-8. `base_url` begins the addresses of the examples.

    Raises what is amiss in a document (KeyError for a missing member or component).
    """
    chapters = [_Chapter(document, f"api{number}", base_url) for number, document in enumerate(documents, 1)]
    page = tags.html(lang="en")(
        tags.head(
            tags.meta(charset="utf-8"),
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.title(title),
            tags.style(STYLE),
        ),
        tags.body(
            tags.nav(**{"aria-label": "Contents"})(
                tags.details(open="open")(tags.summary("Contents"), *(chapter.contents() for chapter in chapters))
            ),
            Tag("main")(tags.h1(title), *(chapter.section() for chapter in chapters)),
        ),
    )
    html = run_now(_flattened(page))
    if isinstance(html, Deferred):
        raise TypeError("something in the page has to be waited for")
    return b"<!DOCTYPE html>\n" + html


async def _flattened(page: Tag) -> bytes:
    return await flattenString(None, page)


class _Chapter:
    """What one document says; `anchor` begins the ids of its parts, so that several share a page."""

    def __init__(self, document: Document, anchor: str, base_url: str) -> None:
        self._document = document
        self._anchor = anchor
        self._base_url = base_url
        self._components = document.get("components", {})
        self._schemas = self._components.get("schemas", {})
        self._groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
        for tag in document.get("tags", ()):
            self._groups[tag["name"]] = []
        for path, methods in document["paths"].items():
            for method in METHODS:
                if method in methods:
                    tag = next(iter(methods[method].get("tags", ())), "Other")
                    self._groups.setdefault(tag, []).append((path, method, methods[method]))

    def contents(self) -> Tag:
        """The list of the operations by tag."""
        listing = tags.div(tags.p(tags.a(self._document["info"]["title"], href=f"#{self._anchor}")))
        for tag, operations in self._groups.items():
            listing(
                tags.p(tag, class_="group"),
                tags.ul(
                    *(
                        tags.li(
                            tags.a(href="#" + self._id(operation["operationId"]))(*_heading(path, method)),
                        )
                        for path, method, operation in operations
                    )
                ),
            )
        return listing(tags.ul(tags.li(tags.a("Refusals", href="#" + self._id("refusals")))))

    def section(self) -> Tag:
        """Everything there is to say."""
        info = self._document["info"]
        section = tags.section(id=self._anchor)(
            tags.h2(info["title"], " ", tags.small(info["version"])), *_prose(info.get("description", ""))
        )
        section(*self._ways_to_prove_oneself())
        for tag, operations in self._groups.items():
            section(tags.h3(tag), *(self._operation(*operation) for operation in operations))
        return section(*self._refusals())

    def _ways_to_prove_oneself(self) -> Iterator[Node]:
        schemes = self._components.get("securitySchemes", {})
        if schemes:
            yield tags.h3("Credentials")
            yield _table(
                ("Way", "Where", "How"),
                [(name, _place(scheme), _inline(scheme.get("description", ""))) for name, scheme in schemes.items()],
            )

    def _operation(self, path: str, method: str, operation: Mapping[str, Any]) -> Tag:
        article = tags.article(id=self._id(operation["operationId"]))(
            tags.h4(*_heading(path, method)),
            tags.p(*_inline(operation["summary"])),
            *_prose(operation.get("description", "")),
            tags.p(self._who(operation), class_="who"),
        )
        article(*self._parameters(operation.get("parameters", ())))
        article(*self._body(operation.get("requestBody")))
        article(*self._answers(operation["responses"]))
        command = curl_example(self._document, path, method, self._base_url)
        return article(tags.h5("Example"), tags.pre(tags.code(command), tabindex="0"))

    def _who(self, operation: Mapping[str, Any]) -> str:
        if not operation.get("security", self._document.get("security")):
            return "Open to everybody."
        return f"Needs credentials: {operation.get('x-permission', 'any caller that is known')}."

    def _parameters(self, parameters: Sequence[Mapping[str, Any]]) -> Iterator[Node]:
        if parameters:
            yield tags.h5("Parameters")
            yield _table(
                ("Name", "In", "Type", "", "Meaning"),
                [
                    (
                        tags.code(parameter["name"]),
                        parameter["in"],
                        type_in_words(parameter["schema"], self._schemas),
                        _needed(parameter["required"]),
                        _inline(
                            "; ".join(
                                filter(None, (parameter.get("description"), bounds_in_words(parameter["schema"])))
                            )
                        ),
                    )
                    for parameter in parameters
                ],
            )

    def _body(self, body: Mapping[str, Any] | None) -> Iterator[Node]:
        shown: list[object] = []
        for media_type, content in (body or {"content": {}})["content"].items():
            schema = content.get("schema", {})
            yield tags.h5("Request body: ", tags.code(media_type))
            if schema in shown:
                yield tags.p("The same parts.", class_="note")
                continue
            shown.append(schema)
            yield from self._schema(schema)

    def _answers(self, responses: Mapping[str, Any]) -> Iterator[Node]:
        refused = []
        for status, response in responses.items():
            if "$ref" in response:
                refused.append(status)
                continue
            media_types = ", ".join(response.get("content", ()))
            yield tags.h5(f"Answer: {status} {response['description']} ", tags.code(media_types) if media_types else "")
            for content in response.get("content", {}).values():
                yield from self._schema(content.get("schema", {}))
        if refused:
            links = (tags.a(status, href="#" + self._id(f"refusal-{status}")) for status in refused)
            yield tags.p("Refusals: ", *links, class_="note refusals")

    def _schema(self, schema: Mapping[str, Any]) -> Iterator[Node]:
        resolved = self._schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        yield from _prose(resolved.get("description", ""))
        members = rows(schema, self._schemas)
        if members:
            yield _table(
                ("Name", "Type", "", "Meaning"),
                [
                    (tags.code(member.name), member.type, _needed(member.required), _inline(member.meaning))
                    for member in members
                ],
            )
        elif schema:
            yield tags.p(f"Type: {type_in_words(schema, self._schemas)}", class_="note")

    def _refusals(self) -> Iterator[Node]:
        yield tags.h3("Refusals", id=self._id("refusals"))
        responses = self._components.get("responses", {})
        listed = [(name.removeprefix("Error"), response["description"]) for name, response in responses.items()]
        yield _table(
            ("Status", "When"),
            [
                (tags.span(status, id=self._id(f"refusal-{status}")), _inline(description))
                for status, description in listed
            ],
        )
        forms: list[object] = []
        for response in responses.values():
            for media_type, content in response.get("content", {}).items():
                if content not in forms:
                    forms.append(content)
                    yield tags.h5("Form: ", tags.code(media_type))
                    yield from self._schema(content.get("schema", {}))

    def _id(self, name: str) -> str:
        return f"{self._anchor}-{name}"


def _heading(path: str, method: str) -> list[Node]:
    return [tags.span(method.upper(), class_=f"method {method}"), " ", tags.span(path, class_="path")]


def _place(scheme: Mapping[str, Any]) -> str:
    if scheme["type"] == "apiKey":
        return f"{scheme['in']} {scheme['name']}"
    return f"header Authorization: {scheme['scheme']}" if scheme["type"] == "http" else str(scheme["type"])


def _needed(required: bool) -> str:
    return "required" if required else "optional"


def _table(heads: Sequence[str], lines: Sequence[Sequence[Node | list[Node]]]) -> Tag:
    head = tags.thead(tags.tr(*(tags.th(name, scope="col") for name in heads)))
    body = tags.tbody(*(tags.tr(*(tags.td(cell) for cell in line)) for line in lines))
    return tags.div(tags.table(head, body), class_="scroll")


def _prose(text: str) -> list[Node]:
    """Paragraphs, parted by empty lines."""
    return [tags.p(*_inline(paragraph)) for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph.strip()]


def _inline(text: str) -> list[Node]:
    """Text in which `this` stands for code."""
    pieces = re.split(r"`([^`]+)`", text)
    return [tags.code(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
