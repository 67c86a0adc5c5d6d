"""What the commands share: the options that say which server and who asks, and the reactor's run."""

from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
from twisted.internet import task
from twisted.internet.defer import Deferred

from appliance.client.connection import Connection, connect
from appliance.client.errors import ClientError
from appliance.client.login import log_in, read_token
from appliance.client.remote import Remote, remote
from appliance.client.text import printable
from appliance.secret import Secret

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

Work = Callable[[Any, "Access"], Coroutine[Any, Any, int]]


class Access:
    """A server, and who we are there."""

    def __init__(self, remote: Remote, *, token: Secret | None, username: str, password: Secret | None) -> None:
        self._remote = remote
        self._token = token
        self._username = username
        self._password = password

    async def open(self, reactor: Any, path: str) -> Connection:
        """Open the WebSocket `path`, logging in before the first time. Raises `ClientError`."""
        if self._token is None:
            self._token = await log_in(reactor, self._remote, self._username, self._password or Secret(""))
            self._password = None
        return await connect(reactor, self._remote, path, self._token)


def reaches_a_server(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command URL, --user, --token-file and --ca, and call it with the `Access` they make as its first argument.

    Without a token file the password is asked for, on the terminal.
    """

    @click.argument("url", metavar="https://HOST[:PORT]")
    @click.option("--user", "-u", metavar="NAME", help="Log in as this user (default: asked for).")
    @click.option(
        "--token-file", metavar="FILE", type=click.Path(path_type=Path), help="An API token instead of a log-in."
    )
    @click.option(
        "--ca",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Certificates to trust, in PEM form (default: those that this machine trusts).",
    )
    @wraps(command)
    def with_access(
        url: str, user: str | None, token_file: Path | None, ca: Path | None, *args: object, **options: object
    ) -> Any:
        if user is not None and token_file is not None:
            raise click.UsageError("--user and --token-file exclude each other")
        try:
            where = remote(url, ca)
            token = read_token(token_file) if token_file is not None else None
        except ClientError as error:
            raise click.ClickException(str(error)) from None
        password = None
        if token is None:
            user = user or click.prompt("User", err=True)
            password = Secret(click.prompt(f"Password of {user} on {where.host}", hide_input=True, err=True))
        return command(Access(where, token=token, username=user or "", password=password), *args, **options)

    return with_access


def run(work: Work, access: Access) -> NoReturn:
    """Run `work(reactor, access)` under the reactor and exit with the code it returns; a `ClientError` is told.

    After Ctrl-C connections break, and what `work` makes of that is not told.
    """

    async def main(reactor: Any) -> None:
        stopping: list[int] = []
        reactor.addSystemEventTrigger("before", "shutdown", stopping.append, INTERRUPTED)
        try:
            code = await work(reactor, access)
        except ClientError as error:
            if not stopping:
                click.echo(f"Error: {printable(str(error))}", err=True)
            code = 1
        raise SystemExit(stopping[0] if stopping else code)

    task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)), [])
    raise AssertionError("task.react never returns")
