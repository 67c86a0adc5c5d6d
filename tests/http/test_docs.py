import shlex
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from appliance.http.call import Call
from appliance.http.curl_example import curl_example
from appliance.http.docs import render
from appliance.http.endpoints import FormBody, JsonBody, Routes, bind
from appliance.http.openapi import document
from appliance.http.schema_rows import Row, rows, type_in_words
from appliance.http.uploads import Upload
from appliance.identity.caller import administrator, anyone

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"
TOKEN = {"token": {"type": "apiKey", "in": "query", "name": "token", "description": "The `token`."}}
BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}


class Problem(msgspec.Struct):
    error: str


class Inner(msgspec.Struct):
    size: int
    next: "Inner | None" = None


class Outer(msgspec.Struct):
    """What comes out."""

    inner: Inner
    many: list[Inner]
    by_name: dict[str, Inner]
    free: object = None


class Package(msgspec.Struct):
    package: Upload | None = None
    note: str | None = None


class Names(msgspec.Struct):
    name: str
    count: int
    flags: list[str] = []


class Sample:
    routes = Routes(prefix="/things", tag="Things")

    @routes.get("/<name>", reply=Outer, who=anyone, statuses=(404,))
    async def thing(self, call: Call, name: str) -> Outer:
        """One thing, with its `inner` side.

        A second paragraph.
        """
        raise NotImplementedError

    @routes.post("", reply=str, produces="text/plain", who=administrator, body=FormBody(Package, needs=("package",)))
    async def upload(self, call: Call, form: Package) -> str:
        """Upload a package."""
        return ""

    @routes.put("/names", reply=Names, who=administrator, body=JsonBody(Names))
    async def names(self, call: Call, body: Names) -> Names:
        """Set the names."""
        return body

    @routes.get("/all", reply=bytes, produces="application/octet-stream", who=administrator)
    async def everything(self, call: Call) -> bytes:
        """Everything."""
        return b""

    @routes.delete("", who=administrator, status=204)
    async def clear(self, call: Call) -> None:
        """Clear."""


def sample(security: dict[str, Any] = TOKEN, title: str = "Things API") -> dict[str, Any]:
    return document(
        title,
        "3.1",
        bind(Sample()),
        prefix="/api",
        error=Problem,
        security=security,
        form_credentials={"token": "The token, before the file."},
    )


class Page(HTMLParser):
    """Collects what a test wants to know of a page, and insists on tags that match."""

    void = frozenset({"meta", "link", "br", "img"})

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.links += [str(given[name]) for name in ("href", "src", "action") if given.get(name)]
        if tag not in self.void:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone() -> None:
    html = render("Documentation", [sample()])
    page = Page(html)
    assert html.startswith(b"<!DOCTYPE html>")
    assert not page.tags & {"script", "iframe", "object", "link", "img"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert page.links and all(link.startswith("#") for link in page.links)
    assert b"@import" not in html and b"url(" not in html
    assert "viewport" in html.decode() and "prefers-color-scheme: dark" in html.decode()


def test_every_link_leads_somewhere_even_with_several_documents() -> None:
    page = Page(render("Documentation", [sample(), sample(title="The same again")]))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_it_says_what_the_declarations_say() -> None:
    text = Page(render("Documentation", [sample()])).text
    for expected in (
        "Things API",
        "/api/things/{name}",
        "One thing, with its inner side.",
        "A second paragraph.",
        "Open to everybody.",
        "Needs credentials: administrator.",
        "The token, before the file.",
        "many[].size",
        "Answer: 200 OK",
        "text/plain",
        "query token",
        "What was asked for is not there.",
        "package=@PACKAGE_FILE",
    ):
        assert expected in text, expected


def test_nothing_of_a_document_becomes_markup() -> None:
    hostile = sample(title=HOSTILE)
    hostile["info"]["description"] = HOSTILE
    operation = hostile["paths"]["/api/things/{name}"]["get"]
    operation["summary"] = operation["description"] = operation["x-permission"] = HOSTILE
    operation["operationId"] = HOSTILE
    operation["tags"] = [HOSTILE]
    operation["parameters"][0].update(name=HOSTILE, description=HOSTILE)
    operation["responses"]["200"]["description"] = HOSTILE
    hostile["paths"][f"/{HOSTILE}"] = {"get": {**operation, "operationId": f"{HOSTILE}2"}}
    hostile["components"]["schemas"]["Outer"]["description"] = HOSTILE
    hostile["components"]["schemas"]["Outer"]["properties"][HOSTILE] = {"type": "string", "description": HOSTILE}
    hostile["components"]["securitySchemes"]["token"]["description"] = HOSTILE
    page = Page(render(HOSTILE, [hostile], base_url=f"https://{HOSTILE}"))
    assert not page.tags & {"script", "img"}
    assert "onerror" not in page.attributes
    assert page.text.count(HOSTILE) > 10


@pytest.mark.parametrize("missing", ["Outer", "Problem"])
def test_a_document_with_a_hole_is_refused(missing: str) -> None:
    broken = sample()
    del broken["components"]["schemas"][missing]
    with pytest.raises(KeyError, match=missing):
        render("Documentation", [broken])


def curl(path: str, method: str, security: dict[str, Any] = TOKEN) -> list[str]:
    return shlex.split(curl_example(sample(security), path, method, "https://HOST:8443"))


def test_curl_for_a_get_without_credentials() -> None:
    assert curl("/api/things/{name}", "get") == [
        "curl",
        "--cacert",
        "appliance.pem",
        "https://HOST:8443/api/things/NAME",
    ]


def test_curl_for_an_upload() -> None:
    words = curl("/api/things", "post")
    assert words[3:] == ["-F", "package=@PACKAGE_FILE", "https://HOST:8443/api/things?token=YOUR_TOKEN"]


def test_curl_for_a_json_body() -> None:
    words = curl("/api/things/names", "put", BEARER)
    assert words[3:] == [
        "-X",
        "PUT",
        "-H",
        "Authorization: Bearer YOUR_TOKEN",
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"name": "TEXT", "count": 0}',
        "https://HOST:8443/api/things/names",
    ]


def test_curl_for_a_download_and_for_a_delete() -> None:
    assert "-OJ" in curl("/api/things/all", "get")
    assert curl("/api/things", "delete")[3:5] == ["-X", "DELETE"]


def test_rows_of_nested_and_recursive_schemas() -> None:
    components = sample()["components"]["schemas"]
    found = rows({"$ref": "#/components/schemas/Outer"}, components)
    assert [row.name for row in found] == [
        "inner",
        "inner.size",
        "inner.next",
        "many",
        "many[].size",
        "many[].next",
        "by_name",
        "by_name.*.size",
        "by_name.*.next",
        "free",
    ]
    assert found[1] == Row("inner.size", "integer", True, "")
    assert found[2].type == "object or null"
    assert found[6].type == "object of object"


def test_rows_end_in_schemas_without_names() -> None:
    endless: dict[str, Any] = {"type": "object", "properties": {}}
    endless["properties"]["again"] = endless
    assert 1 < len(rows(endless, {})) < 10


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "binary"}, "file"),
        ({"type": "string", "format": "uuid"}, "string (uuid)"),
        ({"enum": ["START", "STOP"]}, "START or STOP"),
        ({"const": 3}, "3"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "array of integer or null"),
        ({"type": "object"}, "object"),
        ({}, "any"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_in_words(schema, {}) == words
