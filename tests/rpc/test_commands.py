"""`appliance rpc …`: the commands for whoever runs the machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyotp
import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.rpc.users_file import read
from tests.support.machine import PASSWORD
from tests.support.rpc import LOCAL_PASSWORD, RpcServer, rpc_server
from tests.support.server import ROOT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with ACL files of the test."""
    folder = tmp_path / "acl.d"
    folder.mkdir()
    group = {"dns": {"read": {"ubus": {"ns.dns": ["get"]}}, "write": {"ubus": {"ns.dns": ["set"]}}}}
    (folder / "dns.json").write_text(json.dumps(group))
    (folder / "all.json").write_text('{"all":{"write":{"ubus":{"*":["*"]}}}}')
    path = tmp_path / "appliance.toml"
    path.write_text(f'[server]\nstate = "{tmp_path}/state"\n[rpc]\nacl_directories = ["{folder}"]\n')
    return path


def rpc(config: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["rpc", "--config", str(config), *arguments], input=stdin)


def test_users_are_made_listed_and_removed(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "state" / "rpc-users.toml"
    assert rpc(config, "users").output == ""
    made = rpc(config, "set-password", "ann", "--read", "dns", "--read", "!all", stdin="s3cret\n")
    assert made.exit_code == 0 and "s3cret" not in made.output
    assert file.stat().st_mode & 0o777 == 0o600
    ann = read(file).user["ann"]
    assert ann.read == ("dns", "!all") and str(ann.password_hash).startswith("scrypt:32768:8:1$")
    file.write_text(file.read_text() + '\n[group.operators]\nwrite = ["dns"]\n')
    assert rpc(config, "users").output == (
        "user ann  local  read dns,!all  write -\ngroup operators  read -  write dns\n"
    )
    assert rpc(config, "set-password", "ann", stdin="other\n").exit_code == 0
    assert read(file).user["ann"].read == ("dns", "!all")
    assert read(file).user["ann"].password_hash != ann.password_hash
    assert rpc(config, "remove-user", "ann").exit_code == 0
    assert rpc(config, "remove-user", "ann").exit_code == 1
    assert set(read(file).group) == {"operators"}


@pytest.mark.parametrize(
    ("name", "password"), [("a b", "x"), ("", "x"), ("-x", "x"), ("ann", ""), ("ann", "x" * 1025), ("ann", "\n")]
)
def test_what_is_no_user(config: Path, tmp_path: Path, name: str, password: str) -> None:
    refused = rpc(config, "set-password", "--", name, stdin=password)
    assert refused.exit_code == 1 and "Nothing changed" in refused.output
    assert not (tmp_path / "state" / "rpc-users.toml").exists()


def test_a_broken_file_is_told(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "rpc-users.toml").write_text("[user.ann\n")
    for arguments in (["users"], ["set-password", "ann"], ["remove-user", "ann"], ["check", "ann", "ns.dns", "get"]):
        refused = rpc(config, *arguments, stdin="x\n")
        assert refused.exit_code == 1 and "rpc-users.toml" in refused.output, arguments
    assert (tmp_path / "state" / "rpc-users.toml").read_text() == "[user.ann\n"


def test_check_says_who_may_what_and_why(config: Path) -> None:
    rpc(config, "set-password", "ann", "--read", "d*", stdin="x\n")
    rpc(config, "set-password", "bob", "--write", "dns", stdin="x\n")
    assert rpc(config, "check", "ann", "ns.dns", "get").output == "ann may call ns.dns get: dns (read)\n"
    assert rpc(config, "check", "bob", "ns.dns", "set").output == "bob may call ns.dns set: dns (write)\n"
    refused = rpc(config, "check", "ann", "ns.dns", "set")
    assert (refused.exit_code, refused.output) == (
        1,
        "ann may not call ns.dns set: no group of the ACL files grants it\n",
    )
    assert rpc(config, "check", "root", "ns.dns", "get").output == "root may call ns.dns get: all (write); dns (read)\n"
    assert rpc(config, "check", "daemon", "ns.dns", "get").exit_code == 1
    assert "no user nosuchuser" in rpc(config, "check", "nosuchuser", "ns.dns", "get").output


def test_without_a_database_there_is_no_second_factor(config: Path) -> None:
    assert rpc(config, "reset-2fa", "ann").exit_code == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcServer]:
    with rpc_server(tmp_path_factory.mktemp("commands"), host_users=True) as server:
        yield server


def of_server(server: RpcServer, *arguments: str, stdin: str = "") -> Result:
    state = ["--config", str(server.server.folder / "appliance.toml"), "--state", str(server.server.state)]
    return CliRunner().invoke(main, ["rpc", *state, *arguments], input=stdin)


def test_a_running_server_takes_every_change_at_once(server: RpcServer) -> None:
    assert of_server(server, "set-password", "new", "--read", "test-reader", stdin="first\n").exit_code == 0
    token = server.log_in("new", "first")
    assert server.data("ns.test", "say", {}, who="new") == {}
    assert of_server(server, "set-password", "new", stdin="second\n").exit_code == 0
    assert server.api("GET", "/2fa", token=token).status == 403
    server.log_in("new", "second")
    assert of_server(server, "remove-user", "new").exit_code == 0
    assert server.call("ns.test", "say", {}, who="new").status == 403


def test_who_has_lost_his_phone(server: RpcServer) -> None:
    token = server.log_in("nobody")
    key = server.api("GET", "/2fa/qr-code", token=server.sudo("nobody")).json["data"]["key"]
    body = {"username": "nobody", "token": token, "otp": pyotp.TOTP(key).now()}
    assert server.api("POST", "/2fa/otp-verify", body).status == 200
    assert server.api("GET", "/2fa", token=server.log_in("nobody")).status == 403
    assert of_server(server, "reset-2fa", "nobody").output == "nobody: second factor off\n"
    assert of_server(server, "reset-2fa", "nobody").output == "nobody: had no second factor\n"
    assert server.api("GET", "/2fa", token=server.log_in("nobody")).json == {"status": False}


def test_check_agrees_with_the_server(server: RpcServer) -> None:
    passwords = {
        "hostadmin": PASSWORD,
        "ops": PASSWORD,
        "plain": PASSWORD,
        "reader": LOCAL_PASSWORD,
        "root": LOCAL_PASSWORD,
    }
    may = {}
    for name, password in passwords.items():
        server.log_in(name, password)
        for method in ("say", "set-it", "hidden", "size"):
            may[name, method] = server.call("ns.test", method, {}, who=name).status == 200

    def check(asked: tuple[str, str]) -> bool:
        return inside(server, "check", asked[0], "ns.test", asked[1]) == 0

    with ThreadPoolExecutor(4) as pool:
        assert dict(zip(may, pool.map(check, may), strict=True)) == may


def inside(server: RpcServer, *arguments: str) -> int:
    """Run the command where the machine's users are; return its exit code."""
    state = ["--config", str(server.server.folder / "appliance.toml"), "--state", str(server.server.state)]
    argv = [*server.machine.prefix, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "appliance.cli", "rpc", *state]
    return subprocess.run([*argv, *arguments], capture_output=True, check=False, timeout=60).returncode
