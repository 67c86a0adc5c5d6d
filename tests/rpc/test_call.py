"""`ubus/call` over real HTTPS: each branch of the contract's table by a plugin, and what must not depend on it."""

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import alive, wait_for
from tests.support.rpc import RpcServer, rpc_server

FAILED = "ubus call action failed"
CONFIG = """
output_limit_mb = 60
timeouts = { "ns.test hang" = 1 }
sudo_methods = ["ns.test set-sudo"]
checked_objects = ["ns.checked"]
detached_methods = ["ns.slow detached"]
unaudited_methods = ["ns.test size"]
[audit]
secret_names = ["pin"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("call"), CONFIG) as server:
        server.log_in("reader")
        server.log_in("nobody")
        yield server


def text(server: RpcServer, printed: str) -> tuple[int, object, str]:
    """What comes of a plugin that prints a text: status, data and message."""
    answer = server.call("ns.test", "text", {"text": printed})
    return answer.status, answer.json["data"], answer.json["message"]


def test_the_answer_of_a_plugin_is_the_data(server: RpcServer) -> None:
    answer = server.call("ns.test", "say", {"message": "hello world"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {"code": 200, "data": {"message": "hello world"}, "message": "ubus call action success"}


@pytest.mark.parametrize("printed", ["[1,2]", "7", "null", "true", '"text"', "{}", "  [ ]\n"])
def test_any_json_value_is_an_answer(server: RpcServer, printed: str) -> None:
    assert text(server, printed) == (200, json.loads(printed), "ubus call action success")


def test_numbers_pass_through_unchanged_both_ways(server: RpcServer) -> None:
    raw = b'{"big":123456789012345678901234567890,"exact":1.10,"small":1e-400,"neg":-9007199254740993}'
    answer = server.call("ns.test", "say", raw)
    assert answer.body == b'{"code":200,"data":' + raw + b',"message":"ubus call action success"}'


@pytest.mark.parametrize("payload", [b"{}", b"null", None])
def test_no_payload_is_an_empty_object(server: RpcServer, payload: bytes | None) -> None:
    assert server.data("ns.test", "say", payload) == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "expected"),
        (b'{"path":"ns.test"}', "method"),
        (b'{"method":"say"}', "path"),
        (b'{"path":"","method":"say"}', "path"),
        (b'{"path":1,"method":"say"}', "path"),
        (b'{"path":"ns.test","method":"say","payload":[]}', "payload"),
        (b'{"path":"ns.test","method":"say","payload":"text"}', "payload"),
        (b'{"path":"ns.test","method":"say","payload":0}', "payload"),
        (b'{"path":"ns.test","method":"say","payload":{"a":NaN}}', "malformed"),
        (b'{"path":"ns.test","method":"say","payload":{"a":"\xff"}}', "UTF-8"),
        (b'{"path":"ns.test","method":"say","payload":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "malformed"),
        (b'{"path":"ns.test","method":"say"}{}', "malformed"),
    ],
)
def test_a_malformed_body_is_told_so(server: RpcServer, body: bytes, why: str) -> None:
    answer = server.api("POST", "/ubus/call", body, token=server.tokens["root"])
    assert answer.status == answer.json["code"] == 400
    assert answer.json["message"] == "request fields malformed"
    assert why.lower() in answer.json["data"].lower()


def test_the_type_of_the_body_does_not_matter(server: RpcServer) -> None:
    body = b'{"path":"ns.test","method":"say"}'
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        bearer = f"Authorization: Bearer {server.tokens['root']}"
        arguments = ["-H", f"Content-Type: {kind}", "-H", bearer, "--data-binary", "@-"]
        assert server.curl(*arguments, path="/api/ubus/call", stdin=body).status == 200


def test_what_no_acl_grants_is_forbidden(server: RpcServer) -> None:
    for who, path, method in (
        ("reader", "ns.test", "set-it"),
        ("reader", "ns.test", "hidden"),
        ("reader", "ns.nothing", "say"),
        ("nobody", "ns.test", "say"),
        ("reader", "system", "board"),
    ):
        answer = server.call(path, method, {}, who=who)
        assert answer.status == 403
        assert answer.json == {"code": 403, "data": "method not allowed", "message": "ubus call action forbidden"}
    assert server.call("ns.test", "say", {}, who="reader").status == 200


def test_an_acl_file_counts_as_soon_as_it_is_there(server: RpcServer) -> None:
    assert server.call("ns.test", "size", {}, who="reader").status == 403
    path = server.acls / "more.json"
    path.write_text('{"test-more":{"read":{"ubus":{"ns.t*":["size"]}}}}')
    assert server.data("ns.test", "size", {}, who="reader") == {"size": 2}
    (server.acls / "broken.json").write_text("{")
    assert server.call("ns.test", "size", {}, who="reader").status == 200
    assert f"{server.acls}/broken.json is left out" in server.server.log.read_text()
    path.unlink()
    assert server.call("ns.test", "size", {}, who="reader").status == 403


def test_a_plugin_counts_as_soon_as_it_is_there(server: RpcServer) -> None:
    assert server.call("ns.new", "hello").status == 500
    server.add_plugin("ns.new", "#!/bin/sh\ncase $1 in list) echo '{\"hello\":{}}';; call) echo '{\"hi\":1}';; esac\n")
    assert server.data("ns.new", "hello") == {"hi": 1}


def test_a_hang_up_has_all_plugins_asked_anew(server: RpcServer, tmp_path: Path) -> None:
    counted = f"#!/bin/sh\ncase $1 in list) echo >> {tmp_path}/asked; echo '{{\"x\":{{}}}}';; call) echo 1;; esac\n"
    server.add_plugin("ns.counted", counted)
    assert server.data("ns.counted", "x") == 1
    before = (tmp_path / "asked").read_text()
    os.kill(server.server.pid, signal.SIGHUP)
    wait_for(lambda: len((tmp_path / "asked").read_text()) > len(before), "the plugin to be asked again")
    assert server.data("ns.counted", "x") == 1


def test_a_method_of_the_list_takes_sudo_mode(server: RpcServer) -> None:
    answer = server.call("ns.test", "set-sudo", {})
    assert answer.status == 403
    assert answer.json == {"code": 0, "data": None, "message": "sudo mode required"}
    body = {"path": "ns.test", "method": "set-sudo", "payload": {}}
    answer = server.api("POST", "/ubus/call", body, token=server.sudo())
    assert answer.json == {"code": 500, "data": "exit status 3", "message": FAILED}  # there is no such method


def test_acls_are_asked_before_sudo_mode(server: RpcServer) -> None:
    assert server.call("ns.test", "set-sudo", {}, who="reader").json["message"] == "ubus call action forbidden"


@pytest.mark.parametrize(
    ("path", "method", "payload", "data"),
    [
        ("ns.nothing", "say", {}, "exit status 4"),
        ("../ns.test", "say", {}, "exit status 4"),
        ("ns.test/", "say", {}, "exit status 4"),
        ("ns.test", "nothing", {}, "exit status 3"),
        ("ns.test", "list", {}, "exit status 3"),
        ("system", "nothing", {}, "exit status 3"),
        ("file", "read", {}, "exit status 4"),
        ("ns.test", "exit", {"code": 7}, "exit status 7"),
        ("ns.test", "exit", {"code": 255}, "exit status 255"),
        ("ns.test", "kill", {}, "signal: killed"),
    ],
)
def test_what_does_not_end_well(server: RpcServer, path: str, method: str, payload: object, data: str) -> None:
    answer = server.call(path, method, payload)
    assert answer.status == 500
    assert answer.json == {"code": 500, "data": data, "message": FAILED}


@pytest.mark.parametrize(
    "printed", ["", "text", "{", '{"a":', "{}{}", "[1] 2", "NaN", "[NaN]", "Infinity", '{"a":-Infinity}', "01"]
)
def test_what_is_no_json_is_never_a_success(server: RpcServer, printed: str) -> None:
    assert text(server, printed) == (500, "invalid output", FAILED)


def test_what_is_no_utf_8_is_no_json(server: RpcServer) -> None:
    server.add_plugin(
        "ns.bytes", '#!/bin/sh\ncase $1 in list) echo \'{"x":{}}\';; call) printf \'{"a":"\\377"}\';; esac\n'
    )
    answer = server.call("ns.bytes", "x")
    assert (answer.status, answer.json["data"]) == (500, "invalid output")


def test_deep_nesting_is_answered(server: RpcServer) -> None:
    nested = b'{"a":' * 200 + b"1" + b"}" * 200
    assert server.call("ns.test", "say", nested).body.count(b'{"a":') == 200


def test_the_time_limit_ends_the_whole_group(server: RpcServer) -> None:
    answer = server.call("ns.test", "hang")
    assert answer.json == {"code": 500, "data": "timeout", "message": FAILED}
    pid = int((server.folder / "hang.pid").read_text())
    wait_for(lambda: not alive(pid), "the child of the plugin to end")


def test_too_much_output(server: RpcServer) -> None:
    server.add_plugin(
        "ns.flood", "#!/bin/sh\ncase $1 in list) echo '{\"x\":{}}';; call) exec head -c 70000000 /dev/zero;; esac\n"
    )
    answer = server.call("ns.flood", "x")
    assert answer.json == {"code": 500, "data": "output too large", "message": FAILED}


def test_large_output_comes_whole(server: RpcServer) -> None:
    answer = server.call("ns.test", "long")
    assert answer.status == 200
    assert len(answer.json["data"]) == 50_000_000
    assert list((server.server.state / "rpc" / "answers").iterdir()) == []


@pytest.mark.parametrize("size", [70_000, 1_000_000, 10_000_000])
def test_large_payloads_come_whole(server: RpcServer, size: int) -> None:
    payload = {"data": "x" * size}
    assert server.data("ns.test", "size", payload) == {"size": len(json.dumps(payload))}


def test_an_error_of_the_plugin(server: RpcServer) -> None:
    assert text(server, '{"error":"command_failed","validation":{}}') == (
        500,
        {"error": "command_failed", "validation": {}},
        "command_failed",
    )
    assert text(server, '{"error":5}')[0] == 200
    assert text(server, '{"a":{"error":"x"}}')[0] == 200
    assert text(server, r'{"err\u006fr":"escaped"}')[2] == "escaped"


def test_a_validation_of_the_plugin(server: RpcServer) -> None:
    errors = {"errors": [{"parameter": "mac", "message": "mac_already_reserved", "value": "80:5e"}]}
    assert text(server, json.dumps({"validation": errors})) == (400, {"validation": errors}, "validation_failed")


def test_noise_on_standard_error_spoils_nothing_and_is_logged_without_secrets(server: RpcServer) -> None:
    assert server.data("ns.test", "noise", {"password": "hunter2"}) == {"kept": True}
    wait_for(lambda: "noise" in server.server.log.read_text(), "the noise in the log")
    assert "hunter2" not in server.server.log.read_text()


def test_a_child_in_the_background_does_not_delay_the_answer(server: RpcServer) -> None:
    assert server.data("ns.test", "background") == {"answered": True}
    pid = int((server.folder / "background.pid").read_text())
    assert alive(pid)  # it lives on, and the answer has not waited for it
    os.kill(pid, signal.SIGKILL)


def test_gzip_where_it_is_accepted(server: RpcServer) -> None:
    payload = {"text": "x" * 5000}
    plain = server.call("ns.test", "say", payload)
    assert "content-encoding" not in plain.headers
    for size in (5000, 500_000):
        answer = server.call("ns.test", "say", {"text": "x" * size}, "Accept-Encoding: br, gzip")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert json.loads(gzip.decompress(answer.body))["data"] == {"text": "x" * size}
    assert "content-encoding" not in server.call("ns.test", "say", payload, "Accept-Encoding: gzip;q=0").headers


def test_a_body_beyond_the_limit_is_refused(server: RpcServer) -> None:
    answer = server.api("POST", "/ubus/call", b" " * (16 * 1024 * 1024 + 1), token=server.tokens["root"])
    assert answer.status == answer.json["code"] == 413


def test_declared_types_are_enforced_where_the_settings_say_so(server: RpcServer) -> None:
    source = (server.plugins / "ns.test").read_text()
    server.add_plugin("ns.checked", source)
    answer = server.call("ns.checked", "say", {"message": 5})
    assert answer.status == 400
    assert answer.json == {"code": 400, "data": "message: expected a string", "message": "request fields malformed"}
    assert server.call("ns.checked", "say", {"message": "x", "number": 1 << 40}).status == 400
    assert server.data("ns.checked", "say", {"message": "x", "number": 7, "more": [1]}) == {
        "message": "x",
        "number": 7,
        "more": [1],
    }
    assert server.call("ns.test", "say", {"message": 5}).status == 200


def test_the_environment_of_a_plugin_has_no_secret(server: RpcServer) -> None:
    environment = server.data("ns.test", "env")["env"]
    assert "PATH=" in environment
    assert "PYTHON" not in environment and "TOKEN" not in environment


def test_built_in_objects(server: RpcServer) -> None:
    board = server.data("system", "board")
    assert board["hostname"] == os.uname().nodename and board["release"]["distribution"]
    info = server.data("system", "info")
    assert len(info["load"]) == 3 and info["memory"]["total"] > info["memory"]["free"] > 0
    sessions = server.data("session", "list")["sessions"]
    assert {each["username"] for each in sessions} == {"root", "reader", "nobody"}
    own = server.data("session", "list", who="reader")["sessions"]
    assert {each["username"] for each in own} == {"reader"}


def test_the_list_shows_what_the_caller_may_call(server: RpcServer) -> None:
    answer = server.api("GET", "/ubus/list", token=server.tokens["reader"])
    assert answer.status == 200
    assert answer.json["data"] == {
        "ns.test": {"exit": {"code": 32}, "say": {"message": "value", "number": 32}},
        "session": {"list": {}},
    }
    everything = server.api("GET", "/ubus/list", token=server.tokens["root"]).json["data"]
    assert {"ns.test", "system", "session"} <= set(everything)
    assert "hidden" in everything["ns.test"]
    assert server.api("GET", "/ubus/list", token=server.tokens["nobody"]).json["data"] == {}


def test_calls_are_audited_without_secrets(server: RpcServer) -> None:
    payload: dict[str, object] = {
        "name": "x",
        "deep": [{"wifi": {"psk": "s3cret-psk"}}],
        "api_key": "s3cret-key",
        "Passphrase": "s3cret",
    }
    payload["door_pin"] = "s3cret-pin"
    server.data("ns.test", "size")  # which is not worth an entry
    server.data("ns.test", "say", payload)
    server.call("ns.test", "exit", {"code": 5})
    server.call("ns.test", "set-it", {}, who="reader")
    rows = [row for row in server.audit() if row["action"] == "ubus.call"][-4:]
    assert [(row["actor_name"], row["object"], row["outcome"]) for row in rows] == [
        ("root", "ns.test say", "begun"),
        ("root", "ns.test exit", "begun"),
        ("root", "ns.test exit", "failed: exit status 5"),
        ("reader", "ns.test set-it", "refused: ubus call action forbidden"),
    ]
    assert rows[0]["details"]["payload"] == {
        "name": "x",
        "deep": [{"wifi": {"psk": "***"}}],
        "api_key": "***",
        "Passphrase": "***",
        "door_pin": "***",
    }
    assert rows[0]["address"] == "127.0.0.1"
    assert b"s3cret" not in (server.server.state / "appliance.db").read_bytes()
    assert "s3cret" not in server.server.log.read_text()


GONE = "failed: the client went away, or the server stopped"


def outcomes(server: RpcServer, called: str) -> list[str]:
    """What the audit log says of all calls of a method."""
    return [row["outcome"] for row in server.audit() if row["object"] == called]


SLOW = """#!/bin/sh
case "$1 $2" in
"list ") echo '{"attached":{},"detached":{}}' ;;
call*) echo $$ > "FOLDER/$2.$$"; sleep 1.5; touch "FOLDER/$2.done"; echo '{}' ;;
esac
"""


def test_a_client_that_goes_away_ends_its_call(server: RpcServer, tmp_path: Path) -> None:
    server.add_plugin("ns.slow", SLOW.replace("FOLDER", str(tmp_path)))
    server.data("ns.test", "say")

    def leave(number: int) -> int:
        body = json.dumps({"path": "ns.slow", "method": "attached"})
        argv = ["curl", "-sS", "-m", "0.7", "--cacert", str(server.server.certificate), "-d", body]
        argv += ["-H", f"Authorization: Bearer {server.tokens['root']}", f"{server.server.base}/api/ubus/call"]
        return subprocess.run([*server.machine.prefix, *argv], capture_output=True, check=False).returncode

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(leave, range(20))) == {28}  # curl's code for its own time limit
    pids = [int(path.read_text()) for path in tmp_path.glob("attached.[0-9]*")]
    wait_for(lambda: not any(map(alive, pids)), "the plugins to end")
    assert not (tmp_path / "attached.done").exists()
    wait_for(lambda: outcomes(server, "ns.slow attached").count(GONE) == 20, "the audit log")
    assert outcomes(server, "ns.slow attached").count("begun") == 20


def test_a_detached_call_goes_on_without_its_client(server: RpcServer, tmp_path: Path) -> None:
    server.add_plugin("ns.slow", SLOW.replace("FOLDER", str(tmp_path)))
    body = json.dumps({"path": "ns.slow", "method": "detached"})
    argv = ["curl", "-sS", "-m", "0.7", "--cacert", str(server.server.certificate), "-d", body]
    argv += ["-H", f"Authorization: Bearer {server.tokens['root']}", f"{server.server.base}/api/ubus/call"]
    assert subprocess.run([*server.machine.prefix, *argv], capture_output=True, check=False).returncode == 28
    wait_for(lambda: (tmp_path / "detached.done").exists(), "the plugin to come to its end")
    words = ["begun", "goes on without its client", "success"]
    wait_for(lambda: outcomes(server, "ns.slow detached") == words, "the audit log")


def test_a_call_is_in_the_audit_log_before_it_ends(server: RpcServer) -> None:
    server.add_plugin("ns.waits", SLOW.replace("FOLDER", str(server.folder)))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.data, "ns.waits", "attached")
        wait_for(lambda: outcomes(server, "ns.waits attached") == ["begun"], "the entry")
        running.result()
    assert outcomes(server, "ns.waits attached") == ["begun"]


def test_many_calls_at_once_are_all_answered(server: RpcServer) -> None:
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda number: server.data("ns.test", "say", {"n": number}), range(120)))
    assert [answer["n"] for answer in answers] == list(range(120))
