"""Persistent storage: every type, every rule with its text, and values that a shell reads back as they were."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Answer, Server, running
from tests.support.surface import post_when_idle
from tests.support.vendor import DEFAULT_SCRIPT, command, files_below, json_file, wrapper

TYPES: dict[str, dict[str, str]] = {
    "local": {},
    "nfs": {"mount_options": "noacl,sync", "ip": "192.168.1.100", "share": "/nfs/storage"},
    "aoe": {"device": "e0.1"},
    "iscsi": {
        "target": "iqn.2016-01.com.example:storage.lun1",
        "ip": "192.168.1.100",
        "username": "user",
        "password": "pass",
    },
    "nbd": {"export_name": "otherexport", "ip": "192.168.1.100", "port": "1043"},
}
OPTIONS = ["local", "nfs", "aoe", "iscsi", "nbd"]
MASKED = "********"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("storage")
    with running(folder, f'[admin]\nstorage_options_file = "{folder}/storage-options.json"\n') as server:
        yield server


def upload(server: Server, folder: Path, storage: object) -> Answer:
    file = json_file(folder / "settings.json", {"storage": storage})
    return post_when_idle(server, "/storage", f"settings=@{file}")


def accepted(server: Server, folder: Path, storage: dict[str, Any], shown: dict[str, Any] | None = None) -> None:
    answer = upload(server, folder, storage)
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/storage"})
    assert answer.headers["location"] == "/api/v1/admin/storage"
    expected = {"storage": shown or storage, "options": OPTIONS}
    server.until("/storage", lambda seen: seen == expected)


def read_back(server: Server, name: str) -> str:
    """What a vendor's script gets of storage.conf by sourcing it in dash."""
    text = f'. "$1"; printf %s "${name}"'
    return command("dash", "-euc", text, "dash", server.admin / "etc" / "storage.conf").decode()


def test_nothing_there_is_404(server: Server) -> None:
    assert (server.get("/storage").status, server.get("/storage").json) == (404, {"Status": "404 Not Found"})


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_type(server: Server, tmp_path: Path, kind: str) -> None:
    given = {"type": kind, **TYPES[kind]}
    accepted(server, tmp_path, given, given | ({"password": MASKED} if kind == "iscsi" else {}))
    assert json.loads((server.admin / "etc" / "storage.json").read_text()) == {"storage": given}
    for name, value in given.items():
        assert read_back(server, name) == value
    for name in ("storage.json", "storage.conf"):
        assert stat.S_IMODE((server.admin / "etc" / name).stat().st_mode) == 0o600


def test_a_port_may_be_a_number(server: Server, tmp_path: Path) -> None:
    given = {"type": "nbd", **TYPES["nbd"]}
    accepted(server, tmp_path, given | {"port": 10809}, given | {"port": "10809"})


@pytest.mark.parametrize("password", [
    "$(touch${IFS}/tmp/appliance-trap)`id`", "it's\"quoted\"$HOME\\", "'''", "a;b|c&d>e<f", "\\'\\n!#~*?[]{}",
])  # fmt: skip
def test_passwords_are_quoted_and_masked(server: Server, tmp_path: Path, password: str) -> None:
    given = {"type": "iscsi", **TYPES["iscsi"], "username": password[:3] + "'", "password": password}
    accepted(server, tmp_path, given, given | {"password": MASKED})
    assert read_back(server, "password") == password
    assert read_back(server, "username") == password[:3] + "'"
    assert not Path("/tmp/appliance-trap").exists()


def test_a_masked_password_posted_back_stays_what_it_was(server: Server, tmp_path: Path) -> None:
    assert upload(server, tmp_path, {"type": "iscsi", **TYPES["iscsi"]}).status == 202
    shown = server.until("/storage", lambda seen: seen.get("storage", {}).get("target") == TYPES["iscsi"]["target"])
    assert shown["storage"]["password"] == MASKED
    assert upload(server, tmp_path, {**shown["storage"], "username": "other"}).status == 202
    server.until("/storage", lambda seen: seen["storage"]["username"] == "other")
    assert json.loads((server.admin / "etc" / "storage.json").read_text())["storage"]["password"] == "pass"
    assert upload(server, tmp_path, {"type": "local"}).status == 202
    server.until("/storage", lambda seen: seen["storage"]["type"] == "local")
    refused = upload(server, tmp_path, {**shown["storage"]})
    assert refused.status == 400 and "password" in refused.json["Error-Message"]


IP = "abcdef0123456789ABCDEF.:"
PRINTABLE = "printable ASCII characters without spaces"


def string(option: str, allowed: str) -> str:
    return f"Missing or invalid string for option: {option}. Allowed: {allowed}"


def length(option: str, least: int = 3, most: int = 255) -> str:
    return f"Invalid string length for option: {option}. Allowed: >= {least} and <= {most}"


@pytest.mark.parametrize(("kind", "change", "message"), [
    ("nfs", {"mount_options": None}, string("mount_options", "alphanumeric and .-=,")),
    ("nfs", {"mount_options": "no acl"}, string("mount_options", "alphanumeric and .-=,")),
    ("nfs", {"mount_options": "ro"}, length("mount_options")),
    ("nfs", {"mount_options": "o" * 256}, length("mount_options")),
    ("nfs", {"ip": None}, string("ip", IP)),
    ("nfs", {"ip": "host.name"}, string("ip", IP)),
    ("nfs", {"ip": "1" * 46}, length("ip", 3, 45)),
    ("nfs", {"share": "/nfs storage"}, string("share", "alphanumeric and .-_/")),
    ("nfs", {"share": "/x"}, length("share")),
    ("aoe", {"device": None}, string("device", "alphanumeric and .-")),
    ("aoe", {"device": "e0/1"}, string("device", "alphanumeric and .-")),
    ("aoe", {"device": "e0"}, length("device")),
    ("iscsi", {"target": "iqn 1"}, string("target", "alphanumeric and .-_:")),
    ("iscsi", {"ip": "::"}, length("ip", 3, 45)),
    ("iscsi", {"username": None}, string("username", PRINTABLE)),
    ("iscsi", {"username": "a user"}, string("username", PRINTABLE)),
    ("iscsi", {"username": "me"}, length("username")),
    ("iscsi", {"password": ""}, string("password", PRINTABLE)),
    ("iscsi", {"password": "pässword"}, string("password", PRINTABLE)),
    ("iscsi", {"password": "tab\there"}, string("password", PRINTABLE)),
    ("iscsi", {"password": "x" * 256}, length("password")),
    ("nbd", {"export_name": "ex:port"}, string("export_name", "alphanumeric and .-_/")),
    ("nbd", {"port": "10a"}, string("port", "0-9")),
    ("nbd", {"port": "-1"}, string("port", "0-9")),
    ("nbd", {"port": -1}, string("port", "0-9")),
    ("nbd", {"port": 10.5}, string("port", "0-9")),
    ("nbd", {"port": True}, string("port", "0-9")),
    ("nbd", {"port": "123456"}, length("port", 1, 5)),
    ("nbd", {"port": ""}, string("port", "0-9")),
    ("local", {"type": "floppy"}, "Invalid option: type. Allowed: local, nfs, aoe, iscsi, nbd"),
    ("local", {"type": None}, "Invalid option: type. Allowed: local, nfs, aoe, iscsi, nbd"),
    ("local", {"type": ["local"]}, "Invalid option: type. Allowed: local, nfs, aoe, iscsi, nbd"),
])  # fmt: skip
def test_refused_values(server: Server, tmp_path: Path, kind: str, change: dict[str, object], message: str) -> None:
    before = files_below(server.admin, without=("log/",))
    answer = upload(server, tmp_path, {"type": kind, **TYPES[kind], **change})
    assert (answer.status, answer.json) == (400, {"Status": "400 Bad Request", "Error-Message": message})
    assert files_below(server.admin, without=("log/",)) == before


@pytest.mark.parametrize(("kind", "key"), [("local", "device"), ("nfs", "password"), ("aoe", "x\r\nInjected: 1")])
def test_unknown_keys_are_refused(server: Server, tmp_path: Path, kind: str, key: str) -> None:
    answer = upload(server, tmp_path, {"type": kind, **TYPES[kind], key: "value"})
    assert answer.status == 400
    assert answer.json["Error-Message"].startswith(f"Unknown option: {key}. Allowed: type")
    assert "injected" not in answer.headers


@pytest.mark.parametrize("port", ["0", "65536", "99999", 0])
def test_ports_that_are_none(server: Server, tmp_path: Path, port: object) -> None:
    assert upload(server, tmp_path, {"type": "nbd", **TYPES["nbd"], "port": port}).status == 400


@pytest.mark.parametrize("value", [None, [], "local", {}])
def test_what_is_no_storage(server: Server, tmp_path: Path, value: object) -> None:
    assert upload(server, tmp_path, value).status == 400


def test_a_second_one_is_refused_while_one_runs(server: Server, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = wrapper(server, f'while [ ! -e "{go}" ]; do sleep 0.05; done\n' + DEFAULT_SCRIPT)
    try:
        assert upload(server, tmp_path, {"type": "aoe", "device": "e1.1"}).status == 202
        file = json_file(tmp_path / "second.json", {"storage": {"type": "local"}})
        refused = server.post("/storage", f"settings=@{file}")
        assert (refused.status, refused.json["Error-Message"]) == (400, "Storage is already running")
        go.touch()
        server.until("/storage", lambda seen: seen["storage"] == {"type": "aoe", "device": "e1.1"})
    finally:
        go.touch()
        script.unlink()


def test_a_file_limits_the_types(server: Server, tmp_path: Path) -> None:
    (server.folder / "storage-options.json").write_text('{"options": ["nfs", "local"]}')
    server.stop()
    server.start()
    message = "Invalid option: type. Allowed: local, nfs"
    answer = upload(server, tmp_path, {"type": "aoe", "device": "e0.1"})
    assert (answer.status, answer.json["Error-Message"]) == (400, message)
    assert upload(server, tmp_path, {"type": "local"}).status == 202
    seen = server.until("/storage", lambda seen: seen["storage"] == {"type": "local"})
    assert seen["options"] == ["nfs", "local"]
