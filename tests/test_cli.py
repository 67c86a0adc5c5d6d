"""The command line: each command as a user types it, and twistd's own way in."""

import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.application.service import IService
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions

from appliance import __version__, data
from appliance.cli import main
from appliance.settings import Settings
from appliance.settings_errors import keys
from appliance.tap import Options

ROOT = Path(__file__).resolve().parent.parent

# Stands in for the composition root, so that the way from the command line to it is what is tested.
STUB_SERVER = """
    from twisted.application.service import MultiService
    from twisted.logger import Logger


    class Stub(MultiService):
        log = Logger()

        def __init__(self, reactor, settings):
            super().__init__()
            self.reactor, self.settings = reactor, settings

        def startService(self):
            super().startService()
            server, first_run = self.settings.server, self.settings.admin.first_run.enabled
            self.log.debug("too quiet to be seen")
            self.log.info("up {https} {state} {run}", https=server.https, state=server.state, run=first_run)
            self.reactor.callLater(0, self.reactor.stop)


    def build(reactor, settings):
        if not settings.server.state.is_dir():
            raise PermissionError(13, "Permission denied", str(settings.server.state))
        return Stub(reactor, settings)
"""
WITH_STUB = """
    import sys, types
    from {module} import {function}
    module = types.ModuleType("appliance.server")
    exec(open({stub!r}).read(), module.__dict__)
    sys.modules["appliance.server"] = module
    sys.argv = {argv!r}
    {function}()
"""
SCRIPTS = {"appliance": ("appliance.cli", "main"), "twistd": ("twisted.scripts.twistd", "run")}

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Runs our console script or twistd in a process of its own, with the stub as the server."""
    stub = tmp_path / "stub.py"
    stub.write_text(textwrap.dedent(STUB_SERVER))

    def run(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        module, function = SCRIPTS[script]
        argv = [script, *arguments]
        program = textwrap.dedent(WITH_STUB).format(stub=str(stub), argv=argv, module=module, function=function)
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file whose state is in the test's own folder."""
    path = tmp_path / "appliance.toml"
    (tmp_path / "state").mkdir()
    path.write_text(
        f'[server]\nstate = "{tmp_path}/state"\nhttps = "127.0.0.1:0"\n'
        f'[admin]\nlegacy_config = "{tmp_path}/none"\nstorage_options_file = "{tmp_path}/none"\n'
    )
    return path


def invoke(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


# --- help


def test_version() -> None:
    assert invoke("--version").output == f"appliance, version {__version__}\n"


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("check-config", "install", "license", "package", "run", "token"):
        assert f"\n  {command} " in result.output


def test_commands_of_a_surface_are_reached() -> None:
    for command in ("package", "license"):
        assert invoke(command, "--help").exit_code == 0


def test_an_unknown_command_is_refused() -> None:
    assert invoke("fly").exit_code == 2


def test_starting_does_not_load_the_commands_of_surfaces() -> None:
    program = "import sys, appliance.cli; print([m for m in sys.modules if m.startswith(('appliance', 'twisted'))])"
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "['appliance', 'appliance.cli']"


# --- run, and the same under twistd


def test_run_and_twistd_serve_with_the_same_options(start: Start, config: Path, tmp_path: Path) -> None:
    options = (f"--config={config}", "--https=[::1]:0", "--first-run")
    expected = f"up [::1]:0 {tmp_path}/state True"
    by_us = start("appliance", "run", *options)
    by_twistd = start("twistd", "-n", "--pidfile=", "appliance", *options)
    for finished in (by_us, by_twistd):
        assert finished.returncode == 0, finished.stderr
        assert f'"message":"{expected}"' in finished.stdout
        assert "too quiet" not in finished.stdout
        assert all(line.startswith('{"time":"') for line in finished.stdout.splitlines())
    assert not (tmp_path / "twistd.pid").exists()


def test_the_log_level_comes_from_the_settings(start: Start, config: Path) -> None:
    config.write_text(config.read_text().replace("[admin]", 'log_level = "debug"\n[admin]'))
    named = start("twistd", "-n", "--pidfile=", "--logger=appliance.logs.observer", "appliance", f"-c{config}")
    assert '"level":"debug","logger":"' in named.stdout


def test_a_log_chosen_for_twistd_is_kept(start: Start, config: Path, tmp_path: Path) -> None:
    finished = start("twistd", "-n", "--pidfile=", "--logfile=own.log", "appliance", f"--config={config}")
    assert finished.stdout == ""
    assert "up 127.0.0.1:0" in (tmp_path / "own.log").read_text()


@pytest.mark.parametrize("way", [("appliance", "run"), ("twistd", "-n", "--pidfile=", "appliance")])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--https=8443", "command line: server.https: '8443' is not ADDRESS:PORT."),
        ("--config=/nonexistent", "/nonexistent: no such file."),
        ("--state=/nonexistent", "[Errno 13] Permission denied: '/nonexistent'"),
    ],
)
def test_what_prevents_a_start_is_one_line_and_exit_code_1(
    start: Start, way: tuple[str, ...], option: str, message: str
) -> None:
    finished = start(*way, option)
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"appliance: {message}")
    assert finished.stderr.count("\n") == 1
    assert finished.stdout == ""


def test_an_option_that_is_not_known_is_refused(start: Start) -> None:
    assert start("appliance", "run", "--fly").returncode == 2
    with pytest.raises(usage.UsageError):
        Options().parseOptions(["--fly"])


def test_twistd_finds_the_plugin_and_passes_the_options(config: Path) -> None:
    options: Any = ServerOptions()
    options.parseOptions(["-n", "appliance", "--config", str(config), "--state", "/srv/x"])
    assert options.subCommand == "appliance"
    assert options.subOptions.settings.state == Path("/srv/x")
    assert options.subOptions.settings.admin.first_run.enabled is None


def test_the_stub_builds_what_the_real_server_has_to() -> None:
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(STUB_SERVER), scope)
    assert IService.providedBy(scope["Stub"](None, Settings()))


# --- check-config


def test_a_correct_file_is_told_with_what_follows_from_it(config: Path, tmp_path: Path) -> None:
    result = invoke("check-config", "--config", str(config))
    assert result.exit_code == 0
    assert "The settings are correct." in result.output
    assert f"{tmp_path}/state/admin" in result.output
    assert "first run        off" in result.output


def test_a_mistake_ends_with_code_1(config: Path) -> None:
    config.write_text("[server]\nhtps = 1")
    result = invoke("check-config", "--config", str(config))
    assert result.exit_code == 1
    assert f"{config}: server.htps: unknown key. Did you mean server.https?" in result.output


def test_the_files_that_settings_name_are_checked_too(config: Path, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("{")
    result = invoke("check-config", "--config", str(config))
    assert result.exit_code == 1
    assert f"{tmp_path}/none: not JSON" in result.output
    (tmp_path / "none").unlink()
    config.write_text(config.read_text() + f'dashboard_directory = "{tmp_path}/missing"')
    result = invoke("check-config", "--config", str(config))
    assert result.exit_code == 1
    assert "admin.dashboard_directory" in result.output


def test_a_scrape_token_that_is_of_no_use_is_told(config: Path, tmp_path: Path) -> None:
    token = tmp_path / "metrics.token"
    config.write_text(f'[server]\nmetrics_token_file = "{token}"\n' + config.read_text().replace("[server]\n", ""))
    for content, reason in ((None, "cannot be read"), ("short", "less than 16 characters")):
        if content is not None:
            token.write_text(content)
        result = invoke("check-config", "--config", str(config))
        assert result.exit_code == 1
        assert "server.metrics_token_file" in result.output and reason in result.output
    token.write_text("long enough to be good")
    assert invoke("check-config", "--config", str(config)).exit_code == 0


def test_explain_lists_every_key() -> None:
    output = invoke("check-config", "--explain").output
    for key in keys(Settings):
        assert f"\n  {key.name}: {key.default}\n      {key.description}" in output
    assert output.count("[admin]\n") == 1


# --- token


def test_token_says_where_it_is_and_whether_it_is_set(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "state" / "admin" / "etc" / "api.token"
    assert invoke("token", "--config", str(config)).output == f"{file}: not set\n"
    file.parent.mkdir(parents=True)
    file.write_text("abc")
    result = invoke("token", "--config", str(config))
    assert result.output == f"{file}: set\n"
    file.with_name("api.token.setup").write_text("abc")
    assert "first run" in invoke("token", "--config", str(config)).output


def test_token_set_takes_the_first_line_of_standard_input(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "state" / "admin" / "etc" / "api.token"
    result = invoke("token", "set", "--config", str(config), stdin="s3cret~!\r\nmore\n")
    assert result.exit_code == 0, result.output
    assert "s3cret" not in result.output
    assert file.read_bytes() == b"s3cret~!"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["api.token"]


def test_token_set_ends_a_first_run(config: Path, tmp_path: Path) -> None:
    etc = tmp_path / "state" / "admin" / "etc"
    etc.mkdir(parents=True)
    (etc / "api.token").write_text("four-words-of-chance")
    (etc / "api.token.setup").write_text("four-words-of-chance")
    assert invoke("token", "--config", str(config), "set", stdin="mine").exit_code == 0
    assert (etc / "api.token").read_text() == "mine"
    assert not (etc / "api.token.setup").exists()


@pytest.mark.parametrize(
    "stdin", ["", "\n", "with space", "tab\t", "ümlaut", b"\xff\xfe", "x" * 256, "x" * 10_000, "nul\0"]
)
def test_a_token_that_is_not_allowed_changes_nothing(config: Path, tmp_path: Path, stdin: str | bytes) -> None:
    etc = tmp_path / "state" / "admin" / "etc"
    etc.mkdir(parents=True)
    (etc / "api.token").write_text("before")
    result = invoke("token", "set", "--config", str(config), stdin=stdin)
    assert result.exit_code == 1
    assert "Nothing changed" in result.output
    assert (etc / "api.token").read_text() == "before"


def test_the_longest_token_is_taken(config: Path, tmp_path: Path) -> None:
    assert invoke("token", "set", "--config", str(config), stdin="x" * 255 + "\r\n").exit_code == 0
    assert (tmp_path / "state" / "admin" / "etc" / "api.token").read_text() == "x" * 255


def test_token_set_where_nothing_can_be_written(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "admin").write_text("a file in the way")
    result = invoke("token", "set", "--config", str(config), stdin="abc")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path}/state/admin")


# --- install


def test_install_brings_the_settings_and_the_unit(tmp_path: Path) -> None:
    result = invoke("install", "--root", str(tmp_path))
    assert result.exit_code == 0, result.output
    settings_file = tmp_path / "etc/appliance/appliance.toml"
    unit_file = tmp_path / "etc/systemd/system/appliance.service"
    assert settings_file.read_bytes() == data.path("appliance.toml").read_bytes()
    unit = unit_file.read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()
    assert os.access(command[0], os.X_OK)
    assert command[1:] == [
        "-n",
        "--pidfile=",
        "--logger=appliance.logs.observer",
        "appliance",
        "--config",
        "/etc/appliance/appliance.toml",
    ]
    assert "@" not in unit.replace("x@", "")
    assert stat.S_IMODE(settings_file.stat().st_mode) == stat.S_IMODE(unit_file.stat().st_mode) == 0o644


def test_install_keeps_what_is_there(tmp_path: Path) -> None:
    settings_file = tmp_path / "etc/appliance/appliance.toml"
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text("# mine\n")
    result = invoke("install", "--root", str(tmp_path))
    assert result.exit_code == 0
    assert f"{settings_file}: kept\n" in result.output
    assert settings_file.read_text() == "# mine\n"
    assert (tmp_path / "etc/systemd/system/appliance.service").exists()


def test_install_into_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file in the way")
    result = invoke("install", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert str(tmp_path / "etc") in result.output


def test_the_unit_is_one_that_systemd_reads(tmp_path: Path) -> None:
    invoke("install", "--root", str(tmp_path))
    unit = (tmp_path / "etc/systemd/system/appliance.service").read_text()
    section, seen = "", {}
    for line in unit.splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert section and equals and value, line
            seen[key] = value
    assert seen["Type"] == "notify"
    assert int(seen["WatchdogSec"]) > 0
    # Mount namespaces would hide the storage we mount from the rest of the machine.
    assert not {"ProtectSystem", "PrivateTmp", "PrivateDevices", "ProtectHome", "NoNewPrivileges"} & set(seen)
