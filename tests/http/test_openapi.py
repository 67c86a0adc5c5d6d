import json
import uuid
from typing import Annotated, Any

import msgspec
import openapi_spec_validator
import pytest
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from appliance.admin.endpoints_information import InformationEndpoints, RebootEndpoints
from appliance.admin.endpoints_optional import (
    BackupEndpoints,
    CertsEndpoints,
    LicenseEndpoints,
    SettingsEndpoints,
    StorageEndpoints,
)
from appliance.admin.endpoints_setup import SetupEndpoints
from appliance.admin.endpoints_update import SupportEndpoints, UpdateEndpoints
from appliance.admin.models import ErrorBody
from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, FormBody, JsonBody, Routes, bind
from appliance.http.openapi import document
from appliance.http.uploads import Part, Upload
from appliance.identity.caller import administrator, anyone

SECURITY = {
    "token": {"type": "apiKey", "in": "query", "name": "token"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
ADMIN = (
    SetupEndpoints,
    UpdateEndpoints,
    SupportEndpoints,
    RebootEndpoints,
    InformationEndpoints,
    SettingsEndpoints,
    CertsEndpoints,
    LicenseEndpoints,
    StorageEndpoints,
    BackupEndpoints,
)


class Problem(msgspec.Struct):
    error: str


class Size(msgspec.Struct):
    bytes: int


class Disk(msgspec.Struct):
    """A disk."""

    name: str
    size: Size
    parent: "Disk | None" = None
    notes: dict[str, object] = {}


class DiskList(msgspec.Struct):
    disks: list[Disk]


class Filter(msgspec.Struct, rename="kebab"):
    kind: str
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100, description="Disks a page.")] = 20
    name_like: str | None = None


class Mount(msgspec.Struct):
    device: str
    read_only: bool = False


class Burn(msgspec.Struct):
    image: Upload | None = None
    label: str | None = None
    key: Part | None = None


class Rename(msgspec.Struct):
    name: str
    comment: str | None = None


class DiskEndpoints:
    routes = Routes(prefix="/disks", tag="Disks")

    @routes.get("", reply=DiskList, who=anyone, query=Filter)
    async def list_disks(self, call: Call, query: Filter) -> DiskList:
        """Every disk.

        With its `size`.
        """
        return DiskList([])

    @routes.get("/<int:number>/parts/<name>", reply=Disk, who=administrator, statuses=(409,))
    async def part(self, call: Call, number: str, name: str) -> Disk:
        """One part."""
        raise NotImplementedError

    @routes.get("/<uuid:id>/<any(raw, 'text'):form>", reply=bytes, who=anyone, produces="image/png")
    async def picture(self, call: Call, id: str, form: str) -> bytes:
        """A picture."""
        return b""

    @routes.post("/mount", body=JsonBody(Mount), status=204, who=administrator, audit="disks.mount")
    async def mount(self, call: Call, body: Mount) -> None:
        """Mount."""

    @routes.post("/burn", body=FormBody(Burn, needs=("image",)), reply=str, who=administrator, produces="text/plain")
    async def burn(self, call: Call, form: Burn) -> str:
        """Burn."""
        return ""

    @routes.get("/log", reply=Disk, who=anyone, streams="text/plain")
    async def log(self, call: Call) -> Disk:
        """What happened."""
        raise NotImplementedError

    @routes.put("/name", body=FormBody(Rename), reply=Disk, who=anyone)
    async def rename(self, call: Call, form: Rename) -> Disk:
        """Rename."""
        raise NotImplementedError

    @routes.post("/import", body=FormBody(Burn, json_part="key"), reply=Disk, status=201, who=administrator)
    async def bring_in(self, call: Call, form: Burn) -> Disk:
        """Import."""
        raise NotImplementedError

    @routes.get("/openapi.json", reply=dict[str, object], who=anyone, listed=False)
    async def openapi(self, call: Call) -> dict[str, object]:
        """Itself."""
        return {}


def made(**options: Any) -> dict[str, Any]:
    options = {"prefix": "/api/x", "error": Problem, "security": SECURITY, **options}
    return document("Disks", "2.0", bind(DiskEndpoints()), **options)


def admin_endpoints() -> list[Endpoint]:
    # Declarations need no working objects behind them.
    return [endpoint for group in ADMIN for endpoint in bind(object.__new__(group))]


def operation(path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = made(form_credentials={"token": "The token."})["paths"]["/api/x/disks" + path][method]
    return found


def test_the_sample_is_valid() -> None:
    openapi_spec_validator.validate(json.loads(msgspec.json.encode(made())))


def test_the_validator_would_complain() -> None:
    broken = made()
    del broken["paths"]["/api/x/disks/mount"]["post"]["responses"]
    broken["components"]["responses"]["Error400"].pop("description")
    with pytest.raises(OpenAPIValidationError):
        openapi_spec_validator.validate(broken)


def test_the_admin_surface_is_valid_and_whole() -> None:
    endpoints = admin_endpoints()
    admin = document("Admin", "1", endpoints, prefix="/api/v1/admin", error=ErrorBody, security=SECURITY)
    openapi_spec_validator.validate(json.loads(msgspec.json.encode(admin)))
    documented = {(method, path) for path, methods in admin["paths"].items() for method in methods}
    assert documented == {(each.method.lower(), "/api/v1/admin" + each.path) for each in endpoints}
    update = admin["paths"]["/api/v1/admin/update"]["post"]
    parts = update["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert parts["update"]["format"] == "binary"
    assert {"202", "400", "403", "413", "507"} <= set(update["responses"])


def test_it_is_the_same_each_time() -> None:
    assert msgspec.json.encode(made()) == msgspec.json.encode(made())


def test_unlisted_endpoints_are_left_out() -> None:
    assert not any("openapi.json" in path for path in made()["paths"])


def test_path_parameters() -> None:
    parameters = operation("/{number}/parts/{name}", "get")["parameters"]
    assert parameters == [
        {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
    ]
    identity, form = operation("/{id}/{form}", "get")["parameters"]
    assert identity["schema"] == {"type": "string", "format": "uuid"}
    assert form["schema"]["enum"] == ["raw", "text"]


def test_query_parameters() -> None:
    kind, page_size, name_like = operation("", "get")["parameters"]
    assert kind == {"name": "kind", "in": "query", "required": True, "schema": {"type": "string"}}
    assert page_size["name"] == "page-size" and page_size["description"] == "Disks a page."
    assert page_size["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert name_like["required"] is False and name_like["schema"] == {"type": "string"}


def test_a_json_body() -> None:
    body = operation("/mount", "post")["requestBody"]
    assert body["required"] is True
    assert body["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Mount"}}}
    assert made()["components"]["schemas"]["Mount"]["required"] == ["device"]


def test_a_form_with_files_is_multipart_alone_and_credentials_come_first() -> None:
    body = operation("/burn", "post")["requestBody"]
    assert list(body["content"]) == ["multipart/form-data"]
    form = body["content"]["multipart/form-data"]
    assert list(form["schema"]["properties"]) == ["token", "image", "label", "key"]
    assert form["schema"]["required"] == ["image"] and body["required"] is True
    assert form["schema"]["properties"]["label"] == {"type": "string"}
    assert form["schema"]["properties"]["image"]["contentMediaType"] == "application/octet-stream"
    assert set(form["encoding"]) == {"image", "key"}


def test_a_form_of_texts_may_come_urlencoded_and_asks_no_credentials_of_everybody() -> None:
    content = operation("/name", "put")["requestBody"]["content"]
    assert list(content) == ["multipart/form-data", "application/x-www-form-urlencoded"]
    assert list(content["multipart/form-data"]["schema"]["properties"]) == ["name", "comment"]
    assert content["multipart/form-data"]["schema"]["required"] == ["name"]


def test_a_json_part_may_come_alone() -> None:
    content = operation("/import", "post")["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}


def test_answers() -> None:
    assert "content" not in operation("/mount", "post")["responses"]["204"]
    assert operation("/burn", "post")["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert operation("/log", "get")["responses"]["200"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Disk"}},
        "text/plain": {"schema": {"type": "string"}},
    }
    assert operation("/{id}/{form}", "get")["responses"]["200"]["content"] == {"image/png": {}}
    created = operation("/import", "post")["responses"]
    assert created["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Disk"}
    assert "200" not in created


def test_refusals() -> None:
    everybody, administrators = operation("", "get")["responses"], operation("/mount", "post")["responses"]
    assert set(everybody) == {"200", "400", "408", "413", "414", "431"}
    assert set(administrators) == {"204", "400", "403", "408", "413", "414", "415", "431"}
    assert {"403", "404", "409"} <= set(operation("/{number}/parts/{name}", "get")["responses"])
    content = made()["components"]["responses"]["Error409"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_security() -> None:
    assert operation("", "get")["security"] == []
    assert operation("/mount", "post")["security"] == [{"token": []}, {"bearer": []}]
    assert operation("/mount", "post")["x-permission"] == "administrator"


def test_schemas_of_forms_and_queries_stand_in_their_operations_only() -> None:
    assert set(made()["components"]["schemas"]) == {"Disk", "DiskList", "Mount", "Problem", "Size"}


def test_a_real_answer_fits_its_schema() -> None:
    disk = Disk("sda", Size(5), Disk("x", Size(1)), {"colour": ["red", 1]})
    schema = {"$ref": "#/components/schemas/DiskList", "components": made()["components"]}
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    validator.validate(json.loads(msgspec.json.encode(DiskList([disk]))))
    assert not validator.is_valid({"disks": [{"name": str(uuid.UUID(int=1)), "size": {"bytes": "many"}}]})


def test_names_and_routes_must_be_unique() -> None:
    endpoints = bind(DiskEndpoints())
    with pytest.raises(ValueError, match="declared twice"):
        document("Disks", "2.0", [*endpoints, endpoints[0]], error=Problem)
    other = Routes(prefix="/other")

    class Other:
        @other.get("", who=anyone, name="mount")
        async def anything(self, call: Call) -> None:
            """Another."""

    with pytest.raises(ValueError, match="two endpoints are named mount"):
        document("Disks", "2.0", [*endpoints, *bind(Other())], error=Problem)


def test_a_form_cannot_need_what_it_does_not_have() -> None:
    routes = Routes()

    class Wrong:
        @routes.post("/wrong", who=anyone, body=FormBody(Burn, needs=("disc",)))
        async def wrong(self, call: Call, form: Burn) -> None:
            """Wrong."""

    with pytest.raises(ValueError, match="wrong needs disc"):
        document("Disks", "2.0", bind(Wrong()), error=Problem)
