import msgspec
import pytest

from appliance.http.call import Call
from appliance.http.endpoints import Endpoint, FormBody, JsonBody, Routes, bind
from appliance.identity.caller import Caller, Permission, administrator, anyone


class Body(msgspec.Struct):
    name: str


class Endpoints:
    routes = Routes(prefix="/x", tag="Tag")

    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def idle(self, call: Call) -> None:
        raise LookupError(self.greeting)

    @routes.get("", who=anyone)
    async def read(self, call: Call) -> str:
        """One line.

        And more
        of it.
        """
        return self.greeting

    @routes.post("/y", who=administrator, body=JsonBody(Body), audit="y.post", status=202, statuses=(400,), guard=idle)
    async def write(self, call: Call, body: Body) -> str:
        return self.greeting + body.name

    @routes.get("/z", who=administrator, cancellable=False, name="zed", listed=False)
    async def change(self, call: Call) -> None: ...

    @routes.put("/p", who=administrator)
    async def put(self, call: Call) -> None: ...

    @routes.patch("/p", who=administrator)
    async def patch(self, call: Call) -> None: ...

    @routes.delete("/p", who=administrator)
    async def delete(self, call: Call) -> None: ...

    @routes.head("/p", who=administrator)
    async def head(self, call: Call) -> None: ...

    def no_endpoint(self) -> None: ...


def by_name(instance: object) -> dict[str, Endpoint]:
    return {endpoint.name: endpoint for endpoint in bind(instance)}


def test_declarations_in_order() -> None:
    found = [(endpoint.method, endpoint.path) for endpoint in bind(Endpoints("hi"))]
    assert found == [
        ("GET", "/x"),
        ("POST", "/x/y"),
        ("GET", "/x/z"),
        ("PUT", "/x/p"),
        ("PATCH", "/x/p"),
        ("DELETE", "/x/p"),
        ("HEAD", "/x/p"),
    ]


def test_what_a_declaration_says() -> None:
    found = by_name(Endpoints("hi"))
    read, write = found["read"], found["write"]
    assert (read.summary, read.description, read.tag, read.who) == ("One line.", "And more\nof it.", "Tag", anyone)
    assert (read.status, read.produces, read.audit, read.body, read.guard) == (
        200,
        "application/json",
        None,
        None,
        None,
    )
    assert (write.status, write.statuses, write.audit, write.body) == (202, (400,), "y.post", JsonBody(Body))


def test_reads_are_cancellable_and_changes_are_not() -> None:
    found = by_name(Endpoints("hi"))
    assert [name for name, endpoint in found.items() if endpoint.cancellable] == ["read", "head"]


def test_handlers_and_guards_belong_to_their_instance() -> None:
    first, second = by_name(Endpoints("one")), by_name(Endpoints("two"))
    for found, greeting in ((first, "one"), (second, "two")):
        coroutine = found["read"].handler(None)
        with pytest.raises(StopIteration) as caught:
            coroutine.__await__().send(None)
        assert caught.value.value == greeting
        guard = found["write"].guard
        assert guard is not None
        with pytest.raises(LookupError, match=greeting):
            guard(None).__await__().send(None)


def test_a_declaration_without_a_permission_is_an_error() -> None:
    with pytest.raises(TypeError, match="who"):
        Routes().get("/x")


def test_permissions() -> None:
    known = Caller("token", "x", frozenset({"administrator"}))
    unknown = Caller("anonymous", "")
    assert anyone.public and not administrator.public
    assert anyone.admits(unknown) and administrator.admits(known)
    assert not administrator.admits(unknown)
    assert not Permission("other", "other").admits(known)
    assert not administrator.admits(Caller("token", "x", capabilities=frozenset({"administrator"})))


def test_a_forms_limit_has_a_default() -> None:
    assert FormBody(Body).limit == 2 << 20
