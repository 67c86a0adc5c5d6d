"""A server as it is installed offers the plugins that come with it, to who may call them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import machine
from tests.support.rpc import USERS, RpcServer
from tests.support.server import Server

READER = '\n[user.watcher]\npassword_hash = "{hash}"\nread = ["dashboard-*"]\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    folder = tmp_path_factory.mktemp("brought")
    with machine(folder) as inside:
        plain = Server(folder / "server", "[rpc]\nrate_limit_per_second = 0\n", prefix=inside.prefix)
        found = RpcServer(inside, plain, folder)
        plain.state.mkdir(parents=True, mode=0o700)
        digest = USERS.split('password_hash = "')[1].split('"')[0]
        found.users_file.write_text(USERS + READER.format(hash=digest))
        found.users_file.chmod(0o600)
        try:
            plain.start()
            found.log_in()
            found.log_in("watcher")
            yield found
        finally:
            if plain.process is not None:
                plain.stop()


def test_what_is_offered(server: RpcServer) -> None:
    listed = json.loads(server.api("GET", "/ubus/list", token=server.tokens["root"]).body)
    listed = listed.get("data", listed)
    assert {"ns.dashboard", "ns.example", "ns.hello", "ns.log", "ns.power"} <= set(listed)
    assert set(listed["ns.power"]) == {"poweroff", "reboot"}


def test_the_reference_s_calls(server: RpcServer) -> None:
    assert server.data("ns.dashboard", "system-info")["result"]["hostname"] == Path("/etc/hostname").read_text().strip()
    assert isinstance(server.data("ns.dashboard", "counter", {"service": "hosts"})["result"]["count"], int)
    assert server.data("ns.example", "say", {"message": "hello world"}) == {"result": "hello world"}
    assert server.data("ns.hello", "echo", {"a": 1}) == {"result": {"a": 1}}
    assert server.data("ns.log", "page", {"limit": 1})["next"] == ""
    answer = server.call("ns.dashboard", "counter", {"service": "x"})
    assert (answer.status, answer.json["message"]) == (400, "validation_failed")


def test_who_may_call_them(server: RpcServer) -> None:
    assert server.data("ns.dashboard", "system-info", who="watcher")["result"]
    for path, method in (("ns.log", "page"), ("ns.power", "reboot"), ("ns.example", "say")):
        assert server.call(path, method, {}, who="watcher").status == 403
    answer = server.call("ns.power", "reboot", {})
    assert (answer.status, answer.json["message"]) == (403, "sudo mode required")


def test_python_plugins_are_forked_from_one_process(server: RpcServer) -> None:
    children = Path(f"/proc/{server.server.pid}/task/{server.server.pid}/children").read_text().split()
    command_lines = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1] for pid in children]
    assert len([line for line in command_lines if line[-1].endswith(b"/zygote/start.py")]) == 1
