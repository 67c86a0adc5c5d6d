"""`appliance rpc …`: local users, what somebody may call, and help for who has lost his phone."""

import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from appliance.rpc.acl import EVERYTHING, READ, WRITE, Grants, Rights
from appliance.rpc.users_file import USER_NAME, BadUsersFile, UsersFile, read
from appliance.secret import Secret

if TYPE_CHECKING:
    from appliance.settings import Settings

_PASSWORD_LIMIT = 1024


@click.group()
@click.option("--state", metavar="DIR", help="State directory; overrides the settings file.")
@click.option("--config", "-c", metavar="FILE", help="Settings file.")
@click.pass_context
def rpc(context: click.Context, config: str | None, state: str | None) -> None:
    """
    Users and rights of the rpc surface.

    A running service takes every change at once.
    """
    from appliance import settings

    try:
        context.obj = settings.load(config, settings.overrides(state=state))
    except settings.SettingsError as error:
        raise click.ClickException(str(error)) from error


@rpc.command()
@click.pass_obj
def users(settings: "Settings") -> None:
    """List the users file: local users, and what the host's users and groups get."""
    found = _users(settings)
    for name, user in sorted(found.user.items()):
        kind = "local" if user.password_hash is not None else "of the host"
        click.echo(f"user {name}  {kind}  read {_listed(user.read)}  write {_listed(user.write)}")
    for name, group in sorted(found.group.items()):
        click.echo(f"group {name}  read {_listed(group.read)}  write {_listed(group.write)}")


@rpc.command("set-password")
@click.argument("name")
@click.option("--read", "readable", metavar="PATTERN", multiple=True, help="ACL groups to read; may come many times.")
@click.option("--write", "writable", metavar="PATTERN", multiple=True, help="ACL groups to read and write.")
@click.pass_obj
def set_password(settings: "Settings", name: str, readable: tuple[str, ...], writable: tuple[str, ...]) -> None:
    """
    Set the password of the local user NAME, who is made where there is none; all sessions of NAME end.

    It is asked for on a terminal, else it is the first line of standard input.
    """
    from appliance.rpc.passwords import hash_password
    from appliance.rpc.users_edit import set_user

    if USER_NAME.fullmatch(name) is None:
        raise click.ClickException("A name has letters, digits and _ . @ - only, at most 64. Nothing changed.")
    changes: dict[str, str | list[str]] = {"password_hash": hash_password(_asked_password())}
    if readable:
        changes["read"] = list(readable)
    if writable:
        changes["write"] = list(writable)
    path = settings.rpc_users_file
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        set_user(path, name, changes)
    except (BadUsersFile, OSError) as error:
        raise click.ClickException(f"{path}: {error}. Nothing changed.") from error
    click.echo(f"{path}: user {name} set")


@rpc.command("remove-user")
@click.argument("name")
@click.pass_obj
def remove(settings: "Settings", name: str) -> None:
    """Take the user NAME out of the users file; all sessions of a local user end."""
    from appliance.rpc.users_edit import remove_user

    path = settings.rpc_users_file
    try:
        remove_user(path, name)
    except KeyError:
        raise click.ClickException(f"{path} has no user {name}.") from None
    except (BadUsersFile, OSError) as error:
        raise click.ClickException(f"{path}: {error}. Nothing changed.") from error
    click.echo(f"{path}: user {name} removed")


@rpc.command()
@click.argument("user")
@click.argument("object")
@click.argument("method")
@click.pass_obj
def check(settings: "Settings", user: str, object: str, method: str) -> None:
    """
    Say whether USER may call METHOD of OBJECT, and which groups of the ACL files grant it.

    Exit code 1 where not.
    """
    from appliance.rpc.acl_files import read_acls
    from appliance.rpc.directories import acl_directories

    rights = _rights(settings, user)
    acls = read_acls(acl_directories(settings))
    by = []
    for name, groups in sorted(acls.items()):
        found: list[str] = []
        for access, granted in ((READ, rights.reads(name)), (WRITE, rights.writes(name))):
            alone = {name: [type(group)(**{access: getattr(group, access)}) for group in groups]}
            if granted and Grants(alone, EVERYTHING).allows(object, method):
                found.append(access)
        if found:
            by.append(f"{name} ({', '.join(found)})")
    if not by:
        click.echo(f"{user} may not call {object} {method}: no group of the ACL files grants it")
        raise click.exceptions.Exit(1)
    click.echo(f"{user} may call {object} {method}: {'; '.join(by)}")


@rpc.command("reset-2fa")
@click.argument("user")
@click.pass_obj
def reset_second_factor(settings: "Settings", user: str) -> None:
    """Turn off the second factor of USER, who has lost phone and recovery codes."""
    path = settings.state / "appliance.db"
    if not path.exists():
        raise click.ClickException(f"{path} is missing: name the state directory with --state.")
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            gone = connection.execute("DELETE FROM rpc_second_factors WHERE username = ?", (user,)).rowcount
            connection.execute("DELETE FROM rpc_recovery_codes WHERE username = ?", (user,))
    except sqlite3.Error as error:
        raise click.ClickException(f"{path}: {error}") from error
    click.echo(f"{user}: {'second factor off' if gone else 'had no second factor'}")


def _users(settings: "Settings") -> UsersFile:
    path = settings.rpc_users_file
    try:
        return read(path)
    except (BadUsersFile, OSError) as error:
        raise click.ClickException(f"{path}: {error}") from error


def _rights(settings: "Settings", name: str) -> Rights:
    from appliance.identity.accounts import administrator
    from appliance.identity.nss import read_account
    from appliance.rpc.identities import rights_of

    file = _users(settings)
    local = file.user.get(name)
    account = None if local is not None and local.password_hash is not None else read_account(name)
    if account is None and (local is None or local.password_hash is None):
        raise click.ClickException(f"There is no user {name}, neither local nor of the host.")
    administers = account is not None and administrator(account, settings.rpc.admin_groups)
    return rights_of(file, name, account.groups if account is not None else frozenset(), administers=administers)


def _listed(patterns: tuple[str, ...]) -> str:
    return ",".join(patterns) or "-"


def _asked_password() -> Secret:
    if sys.stdin.isatty():
        return Secret(str(click.prompt("New password", hide_input=True, confirmation_prompt=True)))
    line = sys.stdin.buffer.read(4 * _PASSWORD_LIMIT).split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise click.ClickException("The password is not UTF-8. Nothing changed.") from None
    if not 0 < len(text) <= _PASSWORD_LIMIT:
        raise click.ClickException(f"A password has 1 to {_PASSWORD_LIMIT} characters. Nothing changed.")
    return Secret(text)
