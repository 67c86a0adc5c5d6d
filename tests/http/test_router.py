import pytest

from appliance.http.call import Call
from appliance.http.endpoints import Routes, bind
from appliance.http.errors import HttpError, MethodNotAllowed
from appliance.http.router import Router
from appliance.identity.caller import administrator


class Things:
    routes = Routes(prefix="/things")

    @routes.get("", who=administrator)
    async def every(self, call: Call) -> None: ...

    @routes.post("", who=administrator)
    async def make(self, call: Call) -> None: ...

    @routes.get("/<name>", who=administrator)
    async def one(self, call: Call, name: str) -> None: ...

    @routes.delete("/<name>", who=administrator)
    async def remove(self, call: Call, name: str) -> None: ...

    @routes.get("/special", who=administrator)
    async def special(self, call: Call) -> None: ...

    @routes.get("/<name>/parts/<int:number>", who=administrator)
    async def piece(self, call: Call, name: str, number: str) -> None: ...

    @routes.get("/a/limited/<int(max=9):number>", who=administrator)
    async def limited(self, call: Call, number: str) -> None: ...

    @routes.delete("/a/limited/<int(max=9):number>", who=administrator)
    async def no_more(self, call: Call, number: str) -> None: ...

    @routes.get("/file", who=administrator)
    async def file(self, call: Call) -> None: ...

    @routes.head("/file", who=administrator)
    async def file_head(self, call: Call) -> None: ...


@pytest.fixture
def router() -> Router:
    return Router("/api", bind(Things()))


@pytest.mark.parametrize(
    ("method", "path", "name", "parameters"),
    [
        ("GET", "/api/things", "every", {}),
        ("POST", "/api/things", "make", {}),
        ("GET", "/api/things/a b", "one", {"name": "a b"}),
        ("GET", "/api/things/ö", "one", {"name": "ö"}),
        ("GET", "/api/things/..", "one", {"name": ".."}),
        ("DELETE", "/api/things/a", "remove", {"name": "a"}),
        ("GET", "/api/things/special", "special", {}),
        ("GET", "/api/things/a/parts/7", "piece", {"name": "a", "number": "7"}),
        ("GET", "/api/things/file", "file", {}),
        ("HEAD", "/api/things/file", "file_head", {}),
    ],
)
def test_finds(router: Router, method: str, path: str, name: str, parameters: dict[str, str]) -> None:
    for _ in range(2):  # the second time from memory, where there are no parameters
        endpoint, found = router.find(method, path)
        assert (endpoint.name, dict(found)) == (name, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "/api/thing",
        "/api",
        "/",
        "",
        "/api/things/",
        "/api//things",
        "//api/things",
        "/api/things/a/",
        "/api/things/a/b",
        "/api/things/a/parts/x",
        "/api/things/a/limited/10",
        "/API/things",
    ],
)
def test_unknown_paths(router: Router, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "BREW"):
        with pytest.raises(HttpError) as caught:
            router.find(method, path)
        assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/things", {"GET", "POST"}),
        ("HEAD", "/api/things", {"GET", "POST"}),
        ("get", "/api/things", {"GET"}),
        ("BREW", "/api/things/a", {"GET", "DELETE"}),
        ("POST", "/api/things/file", {"GET", "HEAD", "DELETE"}),
    ],
)
def test_wrong_methods_name_the_right_ones(router: Router, method: str, path: str, allowed: set[str]) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        router.find(method, path)
    assert caught.value.allowed == allowed
    assert caught.value.headers["Allow"] == ", ".join(sorted(allowed))


def test_memory_is_bounded_by_the_declarations(router: Router) -> None:
    for i in range(100):
        router.find("GET", f"/api/things/{i}")
        router.find("GET", "/api/things")
    assert len(router._static) == 1
