"""
The console script `appliance`.

What a command needs is imported when it runs, so that `appliance run` starts quickly.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from appliance import __version__

if TYPE_CHECKING:
    from appliance.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])

_CONFIG_HELP = "Settings file (default: /etc/appliance/appliance.toml where it exists)."
_TOKEN_LIMIT = 255


class Commands(click.Group):
    """The commands of this module, and those that surfaces bring, imported only when asked for."""

    surfaces = {  # noqa: RUF012
        "package": "appliance.admin.commands",
        "license": "appliance.admin.commands",
        "rpc": "appliance.rpc.commands",
        "logs": "appliance.client.logs",
        "shell": "appliance.client.shell",
        "top": "appliance.client.top",
    }

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(context), *self.surfaces})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command `name`, or None."""
        if name not in self.surfaces:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(self.surfaces[name]), name)
        return command


def located(command: Function) -> Function:
    """The options that say which installation a command is about."""
    state = click.option("--state", metavar="DIR", help="State directory; overrides the settings file.")
    config = click.option("--config", "-c", metavar="FILE", help=_CONFIG_HELP)
    return config(state(command))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="appliance")
def main() -> None:
    """
    The management service of an appliance: its APIs over one HTTPS port.

    Start it with `appliance run`; `appliance install` brings the settings file and the systemd unit of a
    service. Secrets are never taken from the command line: they are asked for, or read from standard input.
    """


@main.command()
@located
@click.option("--https", metavar="ADDRESS:PORT", help="Where to serve; IPv6 in brackets: [::1]:8443.")
@click.option("--first-run", is_flag=True, help="Where no token is set, make one of words and show it once.")
def run(config: str | None, state: str | None, https: str | None, first_run: bool) -> None:
    """
    Serve in the foreground until TERM or Ctrl-C.

    The same as `twistd -n --pidfile= appliance` with these options. The log goes to standard output, as JSON
    lines where that is not a terminal.
    """
    from twisted.scripts import twistd

    options = {"--config": config, "--state": state, "--https": https}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    sys.argv = ["twistd", "-n", "--pidfile=", "appliance", *given, *(["--first-run"] if first_run else [])]
    twistd.run()


@main.command("check-config")
@click.option("--config", "-c", metavar="FILE", help=_CONFIG_HELP)
@click.option("--explain", is_flag=True, help="List every key with its default and meaning instead.")
@click.option("--markdown", is_flag=True, help="With --explain: as the table of a Markdown document.")
def check_config(config: str | None, explain: bool, markdown: bool) -> None:
    """Check the settings file and the files it names; exit code 1 and one line where something is wrong."""
    from appliance import settings
    from appliance.admin.optional import features
    from appliance.settings_errors import keys

    if explain and markdown:
        click.echo("| key | default | meaning |\n|---|---|---|")
        for key in keys(settings.Settings):
            click.echo(f"| `[{key.section}] {key.name}` | {key.default} | {key.description} |")
        return
    if explain:
        section = ""
        for key in keys(settings.Settings):
            if key.section != section:
                section = key.section
                click.echo(f"[{section}]")
            click.echo(f"  {key.name}: {key.default}\n      {key.description}")
        return
    loaded = _load(config, None)
    try:
        on = features(loaded)
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error
    for name, folder in (
        ("server.web_root", loaded.server.web_root),
        ("admin.dashboard_directory", loaded.admin.dashboard_directory),
    ):
        if folder is not None and not folder.is_dir():
            raise click.ClickException(f"{name}: {folder} is not a folder. Create it or remove the key.")
    if loaded.server.metrics_token_file is not None:
        from appliance.system.exposition.authenticator import read_scrape_token

        try:
            read_scrape_token(loaded.server.metrics_token_file)
        except ValueError as error:
            raise click.ClickException(f"server.metrics_token_file: {error}. Write a token to it.") from error
    click.echo("The settings are correct.")
    click.echo(f"  state directory  {loaded.state}")
    click.echo(f"  admin directory  {loaded.admin_directory}")
    click.echo(f"  https            {loaded.server.https}")
    click.echo(f"  changes system   {'yes' if loaded.admin.apply else 'no (staged only)'}")
    click.echo(f"  endpoints        {', '.join(sorted(on.endpoints)) or 'the fixed ones only'}")
    click.echo(f"  first run        {f'{on.word_length} words' if on.first_run else 'off'}")


@main.group(invoke_without_command=True)
@located
@click.pass_context
def token(context: click.Context, config: str | None, state: str | None) -> None:
    """Say where the admin token is kept and whether one is set; `appliance token set` sets it."""
    context.obj = (config, state)
    if context.invoked_subcommand is not None:
        return
    file = _token_file(config, state)
    try:
        is_set, pending = _holds_text(file), _holds_text(file.with_name("api.token.setup"))
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
    state_of_it = "first run, waiting for POST /setup" if pending else "set" if is_set else "not set"
    click.echo(f"{file}: {state_of_it}")


@token.command("set")
@located
@click.pass_obj
def token_set(group: tuple[str | None, str | None], config: str | None, state: str | None) -> None:
    """
    Set the admin token, asked for on a terminal, else the first line of standard input.

    1 to 255 characters of ASCII without spaces. It ends a first run and replaces any token before it; a
    running service takes it at once.
    """
    from appliance.files import fsync_directory, write_atomic

    file = _token_file(config or group[0], state or group[1])
    value = _asked_token()
    if not re.fullmatch(rf"[\x21-\x7e]{{1,{_TOKEN_LIMIT}}}", value):
        raise click.ClickException(f"A token is 1 to {_TOKEN_LIMIT} ASCII characters, no spaces. Nothing changed.")
    try:
        _private_folder(file.parent)
        write_atomic(file, value.encode(), mode=0o600)
        file.with_name("api.token.setup").unlink(missing_ok=True)
        fsync_directory(file.parent)
    except OSError as error:
        raise click.ClickException(f"{error.filename or file}: {error.strerror}") from error
    click.echo(f"{file}: set")


@main.command()
@click.option("--root", metavar="DIR", default="/", show_default=True, help="Folder to put the files below.")
def install(root: str) -> None:
    """
    Bring the settings file to /etc/appliance and the systemd unit, with changes to the system switched on.

    Files that are there already are kept as they are.
    """
    from appliance import data
    from appliance.files import write_atomic

    twistd = Path(sysconfig.get_path("scripts")) / "twistd"
    if not twistd.is_file():
        raise click.ClickException(f"{twistd} is missing: install the package into this Python with pip.")
    if not re.fullmatch(r"[\w./+-]+", str(twistd), re.ASCII):
        raise click.ClickException(f"systemd would misread the path {twistd}: install into a plainer folder.")
    unit = data.path("appliance.service").read_text().replace("@TWISTD@", str(twistd))
    files = {
        "etc/appliance/appliance.toml": data.path("appliance.toml").read_bytes(),
        "etc/systemd/system/appliance.service": unit.encode(),
    }
    for name, content in files.items():
        target = Path(root) / name
        if os.path.lexists(target):
            click.echo(f"{target}: kept")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, content, mode=0o644)
        except OSError as error:
            raise click.ClickException(f"{error.filename or target}: {error.strerror}") from error
        click.echo(f"{target}: written")
    click.echo("Start it with: systemctl daemon-reload && systemctl enable --now appliance")


def _load(config: str | None, state: str | None) -> "Settings":
    from appliance import settings

    try:
        return settings.load(config, settings.overrides(state=state))
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error


def _token_file(config: str | None, state: str | None) -> Path:
    return _load(config, state).admin_directory / "etc" / "api.token"


def _holds_text(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _asked_token() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("New token", hide_input=True, confirmation_prompt=True))
    first_line = sys.stdin.buffer.read(_TOKEN_LIMIT + 3).split(b"\n", 1)[0]
    return first_line.removesuffix(b"\r").decode("ascii", "replace")


def _private_folder(path: Path) -> None:
    """Make the folder and what is missing above it, for its owner only."""
    if path.is_dir():
        return
    _private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


if __name__ == "__main__":
    main()
