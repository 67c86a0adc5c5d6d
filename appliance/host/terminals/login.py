"""What a log-in on a terminal gives a user: which shell, as whom, with which environment (login(1))."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.files import FileTooLarge, NotARegularFile
from appliance.host.errors import Forbidden, Invalid, Unavailable
from appliance.host.users.accounts import ETC, read_shells
from appliance.identity.nss import Account, group_numbers
from appliance.process.terminal import Identity

SHELLS = ETC / "shells"

_DEFAULT_SHELL = "/bin/sh"  # passwd(5): an empty field
_CLOSED = ("nologin", "false")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Login:
    """A shell as it is to be started. `identity` None: as we are, without root."""

    name: str
    program: str
    argv0: str
    home: str
    environment: Mapping[str, str]
    identity: Identity | None


def prepare_login(account: Account, shell: str | None, shells: Path = SHELLS) -> Login:
    """
    Decide what `account` gets: its own shell, or `shell` where one is asked for. Blocking.

    Raises `Invalid` for a `shell` that is not in /etc/shells, as su(1) and chsh(1) do, and `Forbidden` for an account
    whose own shell is not there either, or is nologin or false: pam_shells(8) admits nobody else, and asking for
    another shell must not open what was closed by that. `Forbidden` also where this server is not root and not this
    user. Raises `Unavailable` for a shell that cannot be executed.
    """
    own = account.shell or _DEFAULT_SHELL
    try:
        allowed = read_shells(shells)
    except (OSError, FileTooLarge, NotARegularFile) as error:
        raise Unavailable(f"{shells} cannot be read: {error}") from error
    if own not in allowed or os.path.basename(own) in _CLOSED:
        raise Forbidden(f"User {account.name} has {own} for a shell, which does not allow a terminal")
    if shell is not None and (shell not in allowed or os.path.basename(shell) in _CLOSED):
        raise Invalid("shell", f"{shell!r} is not one of those in /etc/shells")
    program = shell or own
    if not os.access(program, os.X_OK):
        raise Unavailable(f"The shell {program} cannot be executed")
    return Login(
        name=account.name,
        program=program,
        argv0=f"-{os.path.basename(program)}",  # a login shell
        home=account.home or "/",
        environment={
            "HOME": account.home or "/",
            "USER": account.name,
            "LOGNAME": account.name,
            "SHELL": program,
            "PATH": _ROOT_PATH if account.uid == 0 else _PATH,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        },
        identity=_identity(account),
    )


def _identity(account: Account) -> Identity | None:
    ours = os.geteuid()
    if ours == 0:
        try:
            groups = tuple(group_numbers(account.name, account.gid))
        except OSError as error:
            raise Unavailable(f"The groups of {account.name} cannot be read: {error.strerror}") from error
        return Identity(account.uid, account.gid, groups)
    if account.uid != ours:
        raise Forbidden("This server does not run as root: only the user it runs as can have a terminal")
    return None
