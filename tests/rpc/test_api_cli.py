"""The console script `api-cli`, as a process of its own against the real server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from tests.support.processes import alive, wait_for
from tests.support.rpc import LOCAL_PASSWORD, RpcServer, rpc_server
from tests.support.server import ROOT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    config = 'sudo_methods = ["ns.test set-sudo"]\n'
    with rpc_server(tmp_path_factory.mktemp("cli"), config) as server:
        server.log_in("reader")
        yield server


Finished = subprocess.CompletedProcess[bytes]


def command(server: RpcServer, *arguments: str) -> list[str]:
    return [*server.machine.prefix, sys.executable, "-m", "appliance.api_cli", *arguments]


def run(server: RpcServer, *arguments: str, stdin: bytes = b"", url: str = "", **environment: str) -> Finished:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    variables["APPLIANCE_URL"] = url or f"{server.server.base}/api"
    argv = command(server, *arguments)
    return subprocess.run(argv, input=stdin, capture_output=True, env=variables | environment, check=False, timeout=120)


def ends(finished: Finished, code: int, *words: str) -> None:
    """It ended with that code, and said this on standard error and nothing else."""
    assert finished.returncode == code, finished
    assert finished.stdout == b"" or code == 0
    for word in words:
        assert word in finished.stderr.decode(), finished


def printed(finished: Finished) -> object:
    assert (finished.returncode, finished.stderr) == (0, b""), finished
    return json.loads(finished.stdout)


def test_with_the_default_user_and_password(server: RpcServer) -> None:
    assert printed(run(server, "ns.test", "say")) == {}


def test_data_as_an_argument_and_from_standard_input(server: RpcServer) -> None:
    raw = b'{"message":"hello world","n":123456789012345678901234567890,"x":1.10}'
    for finished in (
        run(server, "ns.test", "say", "--data", raw.decode()),
        run(server, "-d", raw.decode(), "ns.test", "say"),
        run(server, "ns.test", "say", "--data", "-", stdin=raw + b"\n"),
    ):
        assert (finished.returncode, finished.stdout) == (0, raw + b"\n")


def test_large_data(server: RpcServer) -> None:
    raw = json.dumps({"x": "y" * 5_000_000}).encode()
    assert printed(run(server, "ns.test", "size", "-d", "-", stdin=raw)) == {"size": len(raw)}


def test_in_several_lines(server: RpcServer) -> None:
    finished = run(server, "ns.test", "say", "-d", '{"a":{"b":1.50}}', "--pretty")
    assert finished.stdout == b'{\n  "a": {\n    "b": 1.50\n  }\n}\n'


@pytest.mark.parametrize("data", ["", "{", "text", "[]", "null", '{"a":NaN}', "{'a':1}", '{"a":1}{}'])
def test_data_that_is_none_is_not_sent(server: RpcServer, data: str) -> None:
    before = len(server.audit())
    ends(run(server, "ns.test", "say", "--data", data), 1, "--data is not")
    ends(run(server, "ns.test", "say", "--data", "-", stdin=data.encode()), 1, "--data is not")
    assert len(server.audit()) == before


def test_errors_end_with_1(server: RpcServer) -> None:
    error = json.dumps({"text": '{"error":"command_failed"}'})
    ends(run(server, "ns.test", "text", "-d", error), 1, "500 command_failed")
    validation = json.dumps(
        {"text": '{"validation":{"errors":[{"parameter":"mac","message":"mac_already_reserved"}]}}'}
    )
    ends(run(server, "ns.test", "text", "-d", validation), 1, "400 validation_failed", "mac_already_reserved")
    ends(run(server, "ns.test", "exit", "-d", '{"code":3}'), 1, "500 ubus call action failed", "exit status 3")
    ends(run(server, "ns.nothing", "x"), 1, "exit status 4")
    ends(run(server, "-l", "reader", "ns.test", "hidden"), 1, "403 ubus call action forbidden", "method not allowed")


def test_a_refused_login_ends_with_2(server: RpcServer) -> None:
    ends(run(server, "--password", "wrong", "ns.test", "say"), 2, "401 incorrect Username or Password")
    ends(run(server, "-l", "unknown", "-p", "wrong", "ns.test", "say"), 2, "401")


def test_what_was_typed_wrong_ends_with_1(server: RpcServer) -> None:
    ends(run(server, "ns.test"), 1, "Missing argument")
    ends(run(server, "ns.test", "say", "--nothing"), 1, "--nothing")
    assert run(server, "--help").returncode == 0


def test_where_the_password_comes_from(server: RpcServer, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(LOCAL_PASSWORD + "\nmore\n")
    bad.write_text("wrong\n")
    assert run(server, "--password-file", str(good), "ns.test", "say").returncode == 0
    assert run(server, "--password-file", str(bad), "ns.test", "say").returncode == 2
    assert run(server, "ns.test", "say", APPLIANCE_PASSWORD="wrong").returncode == 2
    assert run(server, "-p", LOCAL_PASSWORD, "ns.test", "say", APPLIANCE_PASSWORD="wrong").returncode == 0
    ends(run(server, "--password-file", str(tmp_path / "none"), "ns.test", "say"), 1, "none")


def test_the_default_password_goes_to_this_machine_only(server: RpcServer) -> None:
    ends(run(server, "-u", "https://192.0.2.1/api", "ns.test", "say"), 1, "a password is needed")
    ends(run(server, "-u", "http://192.0.2.1/api", "-p", "x", "ns.test", "say"), 1, "https only")
    for url in ("ftp://localhost/api", "nonsense", "https://", "https://localhost:99999999/api"):
        ends(run(server, "-u", url, "ns.test", "say"), 1)


def test_no_connection_ends_with_1(server: RpcServer) -> None:
    ends(run(server, "-u", "https://127.0.0.1:1/api", "ns.test", "say"), 1, "cannot be reached")
    ends(run(server, "-u", f"{server.server.base}/nothing", "ns.test", "say"), 1)


def test_the_certificate_is_checked_where_it_is_told_to(server: RpcServer, tmp_path: Path) -> None:
    certificate = str(server.server.certificate)
    assert run(server, "--ca", certificate, "ns.test", "say").returncode == 0
    key, other = tmp_path / "key.pem", tmp_path / "other.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            *["-subj", "/CN=x", "-keyout", str(key), "-out", str(other)],
        ],
        check=True,
        capture_output=True,
    )
    ends(run(server, "--ca", str(other), "ns.test", "say"), 1, "certificate verify failed", "--ca")
    assert run(server, "--ca", str(other), "--insecure", "ns.test", "say").returncode == 0
    # By another name than this machine's it is checked without being told to.
    server.machine.run("sh", "-c", "echo 127.0.0.1 box.example >> /etc/hosts")
    elsewhere = f"https://box.example:{server.server.port}/api"
    ends(run(server, "-p", LOCAL_PASSWORD, "ns.test", "say", url=elsewhere), 1, "certificate verify failed")
    assert run(server, "-p", LOCAL_PASSWORD, "--insecure", "ns.test", "say", url=elsewhere).returncode == 0


def test_it_logs_out_when_it_is_done(server: RpcServer) -> None:
    before = server.data("session", "list")["sessions"]
    assert run(server, "ns.test", "say").returncode == 0
    assert run(server, "ns.nothing", "say").returncode == 1
    assert run(server, "--sudo", "ns.test", "say").returncode == 0
    assert {each["id"] for each in server.data("session", "list")["sessions"]} == {each["id"] for each in before}


def test_sudo_mode(server: RpcServer) -> None:
    ends(run(server, "ns.test", "set-sudo"), 1, "403 sudo mode required")
    ends(run(server, "--sudo", "ns.test", "set-sudo"), 1, "exit status 3")  # it may, and there is none


def test_a_job_tells_its_progress(server: RpcServer) -> None:
    finished = run(server, "--job", "ns.test", "progress")
    assert (finished.returncode, json.loads(finished.stdout)) == (0, {"done": True})
    assert finished.stderr.decode().splitlines()[-1] == "100 %"
    ends(run(server, "--job", "ns.test", "exit", "-d", '{"code":3}'), 1, "exit status 3")


def test_who_breaks_off_ends_the_job(server: RpcServer) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "APPLIANCE_URL": f"{server.server.base}/api"}
    pid = server.folder / "hang.pid"
    pid.unlink(missing_ok=True)
    time.sleep(0.6)  # the access log is written every half second: what comes now is of this command
    begun = len(server.server.log.read_text())
    process = subprocess.Popen(command(server, "--job", "ns.test", "hang"), env=environment, start_new_session=True)
    try:
        wait_for(lambda: pid.exists() and pid.read_text(), "the plugin to start")
        wait_for(lambda: "/api/ubus/jobs/" in server.server.log.read_text()[begun:], "the command to look at its job")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    child = int(pid.read_text())
    wait_for(lambda: not alive(child), "its end")


def test_with_a_second_factor(server: RpcServer) -> None:
    token = server.log_in("nobody")
    key = server.api("GET", "/2fa/qr-code", token=server.sudo("nobody")).json["data"]["key"]
    totp = pyotp.TOTP(key)
    step = int(time.time()) // 30
    body = {"username": "nobody", "token": token, "otp": totp.generate_otp(step - 1)}
    assert server.api("POST", "/2fa/otp-verify", body).status == 200
    ends(run(server, "-l", "nobody", "ns.test", "say"), 2, "--otp")
    ends(run(server, "-l", "nobody", "--otp", "000000", "ns.test", "say"), 2, "400 validation_failed")
    finished = run(server, "-l", "nobody", "--otp", totp.generate_otp(step), "ns.test", "say")
    ends(finished, 1, "403 ubus call action forbidden")
