"""Users made, changed and refused over real HTTPS, in a private /etc, seen with the system's own tools."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import audited
from tests.support.machine import PASSWORD, SystemServer, system_server
from tests.support.password_helper import descendants
from tests.support.processes import shown_of, wait_for
from tests.support.server import Answer

OTHER = "another horse 9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemServer]:
    with system_server(tmp_path_factory.mktemp("users")) as server:
        yield server


def files(server: SystemServer) -> str:
    return server.machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").stdout


def create(server: SystemServer, username: str, password: str = PASSWORD, **more: Any) -> Answer:
    return server.api("POST", "/users", {"username": username, "password": password, **more})


def change(server: SystemServer, username: str, query: str = "", **body: Any) -> Answer:
    return server.api("PUT", f"/users/{username}{query}", body)


def listed(server: SystemServer, username: str, who: str = "admin") -> Any:
    return next((each for each in server.data("/users", who)["users"] if each["username"] == username), None)


def groups_of(server: SystemServer, username: str) -> set[str]:
    return set(server.machine.run("id", "-Gn", username).stdout.split())


def expiry(server: SystemServer, username: str) -> str:
    """The day from which the account is closed, in the words of chage(1)."""
    (line,) = [
        line
        for line in server.machine.run("env", "LC_ALL=C", "chage", "-l", username).stdout.splitlines()
        if line.startswith("Account expires")
    ]
    return line.partition(":")[2].strip()


def log_in(server: SystemServer, username: str, password: str = PASSWORD) -> int:
    """Try to log in, from an address that nobody else fails from."""
    number = sum(map(ord, username)) % 200
    body = f'{{"username":"{username}","password":"{password}"}}'
    return server.curl("--interface", f"127.0.3.{number}", "--json", body, path="/api/v1/auth/login").status


def test_a_life_of_a_user(server: SystemServer) -> None:
    answer = create(server, "newuser", groups="audio,video")
    assert answer.status == 200
    entry = server.machine.run("getent", "passwd", "newuser").stdout.strip().split(":")
    found = listed(server, "newuser")
    assert answer.json["data"]["user"] == found
    assert [found[each] for each in ("uid", "gid", "home", "shell")] == [entry[2], entry[3], "/home/newuser", entry[6]]
    assert (found["group"], found["groups"], found["locked"]) == ("newuser", ["audio", "video"], False)
    assert groups_of(server, "newuser") == {"newuser", "audio", "video"}
    assert server.machine.run("stat", "-c", "%U", "/home/newuser").stdout.strip() == "newuser"
    server.log_in("newuser")
    assert server.api("GET", "/users", who="newuser").status == 200
    assert create(server, "newuser").status == 409

    assert change(server, "newuser", groups="audio").status == 200
    assert groups_of(server, "newuser") == {"newuser", "audio"}

    assert server.api("POST", "/users/newuser/reset-password", {"password": OTHER}).status == 200
    assert server.api("GET", "/users", who="newuser").status == 401
    assert log_in(server, "newuser") == 401
    server.log_in("newuser", OTHER)

    answer = change(server, "newuser", locked=True)
    assert (answer.status, answer.json["data"]["user"]["locked"]) == (200, True)
    assert server.machine.run("passwd", "-S", "newuser").stdout.split()[1] == "L"
    assert expiry(server, "newuser") == "Jan 02, 1970"
    assert listed(server, "newuser")["locked"] is True
    assert server.api("GET", "/users", who="newuser").status == 401
    assert log_in(server, "newuser", OTHER) == 401

    assert change(server, "newuser", locked=False).status == 200
    assert server.machine.run("passwd", "-S", "newuser").stdout.split()[1] == "P"
    assert expiry(server, "newuser") == "never"
    server.log_in("newuser", OTHER)

    assert server.api("DELETE", "/users/newuser").status == 200
    assert server.machine.run("getent", "passwd", "newuser", check=False).returncode == 2
    assert server.machine.run("test", "-d", "/home/newuser").returncode == 0
    assert listed(server, "newuser") is None
    assert server.api("GET", "/users", who="newuser").status == 401
    for method, path, body in (
        ("DELETE", "/users/newuser", None),
        ("PUT", "/users/newuser", {"groups": ""}),
        ("POST", "/users/newuser/reset-password", {"password": OTHER}),
    ):
        assert server.api(method, path, body).status == 404

    answer = create(server, "newuser")
    assert "existed already" in answer.json["data"]["message"]
    assert server.api("DELETE", "/users/newuser?remove_home=true").status == 200
    assert server.machine.run("test", "-e", "/home/newuser", check=False).returncode == 1


def test_a_user_with_a_shell_and_a_home_of_its_own(server: SystemServer) -> None:
    assert create(server, "special", shell="/bin/sh", home="/home/elsewhere", groups=" audio , ,video,").status == 200
    assert server.machine.run("getent", "passwd", "special").stdout.split(":")[5:] == ["/home/elsewhere", "/bin/sh\n"]
    assert groups_of(server, "special") == {"special", "audio", "video"}
    assert change(server, "special", shell="/bin/bash", groups="", password=OTHER).status == 200
    assert server.machine.run("getent", "passwd", "special").stdout.split(":")[6] == "/bin/bash\n"
    assert groups_of(server, "special") == {"special"}
    server.log_in("special", OTHER)


def test_a_locked_user_gets_a_password_and_stays_locked(server: SystemServer) -> None:
    create(server, "closed")
    assert change(server, "closed", locked=True).status == 200
    assert server.api("POST", "/users/closed/reset-password", {"password": OTHER}).status == 200
    assert listed(server, "closed")["locked"] is True
    assert log_in(server, "closed", OTHER) == 401
    answer = change(server, "closed", locked=True, password=PASSWORD)
    assert (answer.status, "locked" in answer.json["error"]["message"]) == (400, True)
    assert change(server, "closed", locked=False, password=PASSWORD).status == 200
    server.log_in("closed")


def test_what_has_no_password_is_not_unlocked(server: SystemServer) -> None:
    server.machine.run("useradd", "-m", "blank")
    assert listed(server, "blank")["locked"] is True
    answer = change(server, "blank", locked=False)
    assert (answer.status, answer.json["error"]["code"]) == (409, "CONFLICT")


def test_what_was_done_outside_is_seen_at_once(server: SystemServer) -> None:
    server.machine.run("useradd", "-c", "Größe", "outsider")
    assert listed(server, "outsider")["comment"] == "Größe"
    server.machine.run("gpasswd", "-a", "outsider", "audio")
    assert listed(server, "outsider")["groups"] == ["audio"]
    server.machine.run("userdel", "outsider")
    assert listed(server, "outsider") is None


def test_the_list_is_that_of_getent(server: SystemServer) -> None:
    lines = [line.split(":") for line in server.machine.run("getent", "passwd").stdout.splitlines()]
    shown = [
        [each[name] for name in ("username", "uid", "gid", "home", "shell")] for each in server.data("/users")["users"]
    ]
    assert shown == [[line[0], line[2], line[3], line[5], line[6]] for line in lines]
    assert "locked" not in listed(server, "daemon", who="reader")


def test_a_name_that_is_taken_as_a_group(server: SystemServer) -> None:
    before = files(server)
    assert create(server, "audio").status == 409
    assert files(server) == before


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
        {"username": "good", "password": "secure pass 1", "shell": "/bin/sh\nx"},
        {"username": "good\nroot2", "password": "secure pass 1"},
        {"username": "good:x", "password": "secure pass 1"},
        {"username": "Good", "password": "secure pass 1"},
        {"username": "", "password": "secure pass 1"},
        {"username": "good", "password": "tab\there"},
        {"username": "good", "password": "nul\u0000"},
        {"username": "good", "password": "x" * 511},
        {"username": "good", "password": None},
        {"username": "good", "password": "secure pass 1", "groups": "audio:x"},
        {"username": "good", "password": "secure pass 1", "groups": "--help"},
        {"username": "good", "password": "secure pass 1", "home": "home/good"},
        {"username": "good", "password": "secure pass 1", "home": "/home/../etc/good"},
        {"username": "good", "password": "secure pass 1", "home": "/home/a:b"},
        {"username": "good", "password": "secure pass 1", "home": "/nosuchplace/good"},
        {"username": "good", "password": "secure pass 1", "home": "/etc/passwd"},
        {},
        [],
    ],
    ids=lambda body: str(body)[:60],
)
def test_what_is_no_user_is_not_made(server: SystemServer, body: Any) -> None:
    before = files(server)
    answer = server.api("POST", "/users", body)
    assert answer.status == 400, answer
    assert answer.json["error"]["code"] in ("INVALID_INPUT", "VALIDATION_ERROR")
    named = [
        name for name in ("username", "password", "groups", "shell", "home") if name in answer.json["error"]["message"]
    ]
    assert named or not body
    assert "secure pass" not in answer.body.decode()
    assert files(server) == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"groups": "nosuchgroup"},
        {"shell": "/bin/nosuchshell"},
        {"shell": ""},
        {"password": "two\nlines"},
        {"password": ""},
        {"locked": "yes"},
        {"groups": "audio", "password": "two\nlines"},
        {"groups": ["audio"]},
        [],
    ],
    ids=str,
)
def test_what_is_no_change_changes_nothing(server: SystemServer, body: Any) -> None:
    before = files(server)
    answer = server.api("PUT", "/users/reader", body)
    assert answer.status == 400, answer
    assert files(server) == before
    assert server.api("GET", "/users", who="reader").status == 200


@pytest.mark.parametrize("password", ["two\nlines", "", "x" * 511, None, 7, "a\u0000b", "\ud800"], ids=repr)
def test_what_is_no_password_is_not_set(server: SystemServer, password: object) -> None:
    before = files(server)
    answer = server.api("POST", "/users/reader/reset-password", {"password": password})
    assert answer.status == 400, answer
    assert files(server) == before


@pytest.mark.parametrize("name", ["--help", "-r", "..%2F..%2Fetc", "a%0Ab", "a%20b", "%2A", "x" * 300])
def test_names_that_nobody_has(server: SystemServer, name: str) -> None:
    before = files(server)
    for method, path, body in (
        ("DELETE", f"/users/{name}", None),
        ("PUT", f"/users/{name}", {"groups": ""}),
        ("POST", f"/users/{name}/reset-password", {"password": OTHER}),
    ):
        assert server.api(method, path, body).status in (400, 404)
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
        ("PUT", "/users/daemon", {"locked": True}),
        ("DELETE", "/users/nobody", None),
        ("DELETE", "/users/root?system=true", None),
        ("DELETE", "/users/admin?system=true", None),
    ]:
        answer = server.api(method, path, body)
        assert (answer.status, answer.json["error"]["code"]) == (409, "CONFLICT"), (method, path, body)
    assert files(server) == before


def test_an_account_of_the_system_that_is_meant(server: SystemServer) -> None:
    server.machine.run("useradd", "--system", "-s", "/bin/sh", "gadget")
    assert server.api("DELETE", "/users/gadget").status == 409
    assert change(server, "gadget", locked=True).status == 409
    assert change(server, "gadget", "?system=true", locked=True).status == 200
    assert expiry(server, "gadget") == "Jan 02, 1970"
    assert server.api("DELETE", "/users/gadget?system=perhaps").status == 400
    assert server.api("DELETE", "/users/gadget?system=true").status == 200


def test_the_last_administrator_stays(server: SystemServer) -> None:
    """The caller's own password has expired, so that only the other one could log in again."""
    create(server, "second", groups="sudo")
    server.machine.run("chage", "-d", "0", "admin")
    try:
        before = files(server)
        for answer in (
            server.api("DELETE", "/users/second"),
            change(server, "second", locked=True),
            change(server, "second", groups="audio"),
        ):
            assert answer.status == 409
            assert "last administrator" in answer.json["error"]["message"]
        assert files(server) == before
    finally:
        server.machine.run("chage", "-d", "2025-01-01", "admin")
    assert change(server, "second", groups="audio").status == 200
    assert server.api("DELETE", "/users/second").status == 200


def test_a_user_at_work_is_not_removed(server: SystemServer) -> None:
    create(server, "worker")
    prefix = [*server.machine.prefix, "setpriv", "--reuid=worker", "--regid=worker", "--init-groups"]
    with subprocess.Popen([*prefix, "sh", "-c", "echo there; exec sleep 600"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            answer = server.api("DELETE", "/users/worker")
            assert answer.status == 409
            assert "running processes" in answer.json["error"]["message"]
        finally:
            process.kill()
    assert server.api("DELETE", "/users/worker").status == 200


def test_a_password_that_this_system_refuses(server: SystemServer) -> None:
    """Whoever was to be made is not there afterwards; whoever was to be changed is as before."""
    run = server.machine.run
    kept = run("cat", "/etc/pam.d/chpasswd").stdout
    run("tee", "/run/judge", stdin='#!/bin/sh\necho "BAD PASSWORD: it is too short"\nexit 1\n')
    run("chmod", "755", "/run/judge")
    run("tee", "/etc/pam.d/chpasswd", stdin="password requisite pam_exec.so stdout /run/judge\n")
    try:
        before = files(server)
        for answer in (
            create(server, "weak", groups="audio"),
            change(server, "reader", groups="video", shell="/bin/sh", password=OTHER),
            server.api("POST", "/users/reader/reset-password", {"password": OTHER}),
        ):
            assert answer.status == 400, answer
            assert "password" in answer.json["error"]["message"]
            assert files(server) == before
        assert run("test", "-e", "/home/weak", check=False).returncode == 1
        history = "pam_pwhistory.so remember=3 enforce_for_root"
        run("tee", "/etc/pam.d/chpasswd", stdin=f"password requisite {history}\npassword required pam_unix.so\n")
        server.machine.add_user("repeater")
        used = server.api("POST", "/users/repeater/reset-password", {"password": PASSWORD})
        assert used.status == 400, used
        run("tee", "/etc/pam.d/chpasswd", stdin="password requisite pam_deny.so\n")
        before = files(server)
        assert create(server, "weak").status == 503
        assert files(server) == before
    finally:
        run("tee", "/etc/pam.d/chpasswd", stdin=kept)


def test_passwords_are_in_no_command_line_and_no_environment(server: SystemServer, tmp_path: Path) -> None:
    """The real chpasswd, behind a wrapper that lets it wait."""
    run, secret = server.machine.run, "Never seen 12345"
    real, wrapper = tmp_path / "chpasswd", tmp_path / "wrapper"
    place = run("sh", "-c", "command -v chpasswd").stdout.strip()
    run("cp", place, str(real))
    wrapper.write_text(f'#!/bin/sh\nwhile [ ! -e /run/go ]; do sleep 0.05; done\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    run("mount", "--bind", str(wrapper), place)

    def shown() -> list[bytes]:
        return [shown_of(pid) for pid in descendants(server.server.pid)]

    try:
        with ThreadPoolExecutor(1) as pool:
            creating = pool.submit(create, server, "unseen", secret)
            try:
                found = wait_for(lambda: [each for each in shown() if place.encode() in each], "chpasswd")
                assert found
                assert not any(secret.encode() in each for each in shown())
            finally:
                run("touch", "/run/go")
            assert creating.result().status == 200
    finally:
        run("umount", place)
    server.log_in("unseen", secret)


def test_account_files_that_somebody_else_holds(server: SystemServer) -> None:
    """The lock file of shadow(5) names a process that lives."""
    server.machine.run("tee", "/etc/passwd.lock", stdin="1\0")
    try:
        before = files(server)
        for answer in (create(server, "late"), change(server, "reader", groups="audio")):
            assert (answer.status, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert files(server) == before
    finally:
        server.machine.run("rm", "/etc/passwd.lock")


def test_changes_at_the_same_time(server: SystemServer) -> None:
    names = [f"many{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert [answer.status for answer in pool.map(lambda name: create(server, name), names)] == [200] * 6
        same = list(pool.map(lambda _: create(server, "onlyone").status, range(6)))
    assert sorted(same) == [200] + [409] * 5
    assert len({listed(server, name)["uid"] for name in [*names, "onlyone"]}) == 7


def test_what_is_audited_and_what_is_not_written_down(server: SystemServer) -> None:
    secret = "Very secret 12345"
    create(server, "noted", secret, groups="audio")
    change(server, "noted", password=secret + "6", shell="/bin/sh")
    server.api("POST", "/users/noted/reset-password", {"password": secret + "7"})
    server.api("DELETE", "/users/noted?remove_home=true")
    state = server.server.state
    for action, words in (
        ("user.create", '"audio"'),
        ("user.change", '"/bin/sh"'),
        ("user.password", ""),
        ("user.delete", "true"),
    ):
        entry = audited(state, action)[-1]
        assert entry[:4] == ("session", "admin", "noted", "success")
        assert words in (entry[4] or "")
    for path in (server.server.log, *(each for each in state.rglob("*") if each.is_file())):
        assert secret.encode() not in path.read_bytes(), path
