"""Users made, changed and refused over real HTTPS, in a private /etc, seen with the system's own tools."""

from collections.abc import Iterator

import pytest

from tests.support.machine import SystemServer, system_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("users")) as server:
        yield server


def files(server: SystemServer) -> str:
    return server.machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").stdout


def test_a_life_of_a_user(server: SystemServer) -> None:
    body = {"username": "newuser", "password": "secure pass 1", "groups": "audio,video"}
    assert server.api("POST", "/users", body).status == 200
    entry = server.machine.run("getent", "passwd", "newuser").stdout.split(":")
    (found,) = [each for each in server.data("/users")["users"] if each["username"] == "newuser"]
    assert (found["uid"], found["gid"], found["home"]) == (entry[2], entry[3], "/home/newuser")
    assert set(server.machine.run("id", "-Gn", "newuser").stdout.split()) == {"newuser", "audio", "video"}
    server.log_in("newuser", "secure pass 1")
    assert server.api("GET", "/users", who="newuser").status == 200
    assert server.api("POST", "/users", body).status == 409

    assert server.api("PUT", "/users/newuser", {"groups": "audio"}).status == 200
    assert set(server.machine.run("id", "-Gn", "newuser").stdout.split()) == {"newuser", "audio"}

    assert server.api("POST", "/users/newuser/reset-password", {"password": "another pass 2"}).status == 200
    assert server.api("GET", "/users", who="newuser").status == 401
    server.log_in("newuser", "another pass 2")

    assert server.api("PUT", "/users/newuser", {"locked": True}).status == 200
    assert server.machine.run("passwd", "-S", "newuser").stdout.split()[1] == "L"
    assert server.api("GET", "/users", who="newuser").status == 401
    login = {"username": "newuser", "password": "another pass 2"}
    assert server.api("POST", "/auth/login", login, who=None).status == 401

    assert server.api("DELETE", "/users/newuser").status == 200
    assert server.machine.run("getent", "passwd", "newuser", check=False).returncode == 2
    assert server.api("DELETE", "/users/newuser").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"username": "--help", "password": "secure pass 1"},
        {"username": "a b", "password": "secure pass 1"},
        {"username": "../x", "password": "secure pass 1"},
        {"username": "x" * 33, "password": "secure pass 1"},
        {"username": "ünder", "password": "secure pass 1"},
        {"username": "good"},
        {"username": "good", "password": ""},
        {"username": "good", "password": "two\nlines"},
        {"username": "good", "password": "secure pass 1", "groups": "nosuchgroup"},
        {"username": "good", "password": "secure pass 1", "shell": "/bin/nosuchshell"},
    ],
)
def test_what_is_no_user_is_not_made(server: SystemServer, body: dict[str, str]) -> None:
    before = files(server)
    answer = server.api("POST", "/users", body)
    assert answer.status == 400, answer
    assert files(server) == before


def test_nobody_locks_himself_out(server: SystemServer) -> None:
    before = files(server)
    for method, path, body in [
        ("DELETE", "/users/admin", None),
        ("PUT", "/users/admin", {"locked": True}),
        ("PUT", "/users/admin", {"groups": ""}),
        ("DELETE", "/users/root", None),
        ("PUT", "/users/root", {"locked": True}),
        ("DELETE", "/users/daemon", None),
    ]:
        assert server.api(method, path, body).status == 409, (method, path, body)
    assert files(server) == before
