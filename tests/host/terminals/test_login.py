"""Which shell a user gets, and whether he gets one."""

import os
from pathlib import Path

import pytest

from appliance.host.errors import Forbidden, Invalid, Unavailable
from appliance.host.terminals.login import prepare_login
from appliance.identity.nss import Account
from appliance.process.terminal import Identity

BOB = Account(
    name="bob", uid=4242, gid=4242, home="/home/bob", shell="/bin/bash", groups=frozenset(), locked=False, expired=False
)


@pytest.fixture
def shells(tmp_path: Path) -> Path:
    file = tmp_path / "shells"
    file.write_text("# comment\n/bin/sh\n/bin/bash # usual\n /bin/dash \nzsh\n/usr/sbin/nologin\n/opt/none/sh\n")
    return file


def account(**changes: object) -> Account:
    values = {field: getattr(BOB, field) for field in Account.__dataclass_fields__}
    return Account(**{**values, **changes})


def test_the_users_own_shell_is_a_login_shell(shells: Path) -> None:
    login = prepare_login(BOB, None, shells)
    assert (login.name, login.program, login.argv0, login.home) == ("bob", "/bin/bash", "-bash", "/home/bob")
    assert login.environment == {
        "HOME": "/home/bob",
        "USER": "bob",
        "LOGNAME": "bob",
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    assert login.identity == Identity(4242, 4242, (4242,))


def test_root_finds_the_administrators_programs(shells: Path) -> None:
    login = prepare_login(account(name="root", uid=0, gid=0, home="/root"), None, shells)
    assert "/usr/sbin" in login.environment["PATH"].split(":")
    assert login.identity is not None
    assert login.identity.groups[0] == 0


def test_another_shell_of_the_list_may_be_asked_for(shells: Path) -> None:
    login = prepare_login(BOB, "/bin/dash", shells)
    assert (login.program, login.argv0, login.environment["SHELL"]) == ("/bin/dash", "-dash", "/bin/dash")


@pytest.mark.parametrize(
    "shell", ["/usr/bin/python3", "bash", "zsh", "", "/bin/../bin/bash", "/bin/bash ", "/usr/sbin/nologin", "# comment"]
)
def test_a_shell_that_is_not_in_the_list_is_refused(shells: Path, shell: str) -> None:
    with pytest.raises(Invalid, match=r"shell: .* is not one of those in /etc/shells"):
        prepare_login(BOB, shell, shells)


@pytest.mark.parametrize("own", ["/usr/sbin/nologin", "/bin/false", "/usr/bin/vendor-menu"])
@pytest.mark.parametrize("asked", [None, "/bin/bash"])
def test_an_account_without_a_log_in_shell_has_no_terminal_whatever_it_asks_for(
    shells: Path, own: str, asked: str | None
) -> None:
    with pytest.raises(Forbidden, match=own):
        prepare_login(account(shell=own), asked, shells)


def test_an_account_without_a_shell_has_the_standard_one(shells: Path) -> None:
    assert prepare_login(account(shell=""), None, shells).program == "/bin/sh"


def test_without_the_list_there_is_the_standard_shell_only(tmp_path: Path) -> None:
    nowhere = tmp_path / "shells"
    assert prepare_login(account(shell="/bin/sh"), None, nowhere).program == "/bin/sh"
    with pytest.raises(Forbidden):
        prepare_login(BOB, None, nowhere)


def test_a_list_that_cannot_be_read_allows_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        prepare_login(BOB, None, tmp_path)


def test_a_shell_that_is_gone(shells: Path) -> None:
    with pytest.raises(Unavailable, match="/opt/none/sh cannot be executed"):
        prepare_login(BOB, "/opt/none/sh", shells)


def test_without_root_only_the_servers_own_user_has_one(shells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert prepare_login(BOB, None, shells).identity is None
    with pytest.raises(Forbidden, match="does not run as root"):
        prepare_login(account(name="eve", uid=4243), None, shells)
    with pytest.raises(Forbidden, match="does not run as root"):
        prepare_login(account(name="root", uid=0), None, shells)
