"""What may be asked of an account, and who is protected."""

from typing import Any

import pytest

from appliance.host.errors import Conflict, Invalid
from appliance.host.users import rules
from appliance.host.users.accounts import Account, Accounts, Password
from appliance.host.users.rules import Harm
from appliance.secret import Secret

SUDO = frozenset({"sudo"})


def account(name: str, uid: int = 1000, **more: Any) -> Account:
    fields: dict[str, Any] = {
        "gid": uid,
        "comment": "",
        "home": "/",
        "shell": "/bin/sh",
        "group": name,
        "groups": frozenset(),
        "password": Password.USABLE,
        "expires": None,
        "expired": False,
        "outdated": False,
        **more,
    }
    return Account(name=name, uid=uid, **fields)


def accounts(*found: Account) -> Accounts:
    return Accounts({each.name: each for each in found}, frozenset({"sudo", "a", "b"}), frozenset({"/bin/sh"}), 1000)


ROOT = account("root", 0, password=Password.NONE)
CALLER = account("caller", 1000, groups=SUDO)
OTHER = account("other", 1001, groups=SUDO)
PERSON = account("person", 1002)
DAEMON = account("daemon", 1, password=Password.NONE)


def protected(subject: Account, harm: Harm, *all: Account, caller: str = "caller", system: bool = False) -> str:
    """The reason, "" where the harm may be done."""
    try:
        rules.protect(subject, harm, accounts(*all), SUDO, caller=caller, system=system)
    except Conflict as error:
        return str(error)
    return ""


@pytest.mark.parametrize("harm", Harm)
def test_who_is_protected(harm: Harm) -> None:
    everybody = (ROOT, CALLER, OTHER, PERSON, DAEMON)
    for system in (False, True):
        assert "uid 0" in protected(ROOT, harm, *everybody, system=system)
        assert "your own" in protected(CALLER, harm, *everybody, system=system)
        assert protected(OTHER, harm, *everybody, system=system) == ""
        assert protected(PERSON, harm, *everybody, system=system) == ""
    assert "?system=true" in protected(DAEMON, harm, *everybody)
    assert protected(DAEMON, harm, *everybody, system=True) == ""


@pytest.mark.parametrize(
    "rival",
    [
        account("rival", 1003),
        account("rival", 1003, groups=SUDO, expired=True),
        account("rival", 1003, groups=SUDO, outdated=True),
        *(account("rival", 1003, groups=SUDO, password=each) for each in Password if each is not Password.USABLE),
        account("rival", 0, password=Password.LOCKED),
    ],
    ids=str,
)
def test_the_last_who_can_log_in(rival: Account) -> None:
    assert "last administrator" in protected(OTHER, Harm.LOCKED, ROOT, OTHER, PERSON, rival)


@pytest.mark.parametrize(
    "rival",
    [account("rival", 1003, groups=SUDO), account("rival", 1003, group="sudo"), account("rival", 0)],
    ids=str,
)
def test_there_is_another(rival: Account) -> None:
    assert protected(OTHER, Harm.LOCKED, ROOT, OTHER, rival) == ""


def test_an_administrator_that_cannot_log_in_may_go() -> None:
    assert protected(account("other", 1001, groups=SUDO, expired=True), Harm.DELETED, ROOT) == ""


@pytest.mark.parametrize("name", ["a", "_", "a-b_c9", "x" * 32])
def test_good_names(name: str) -> None:
    rules.check_username(name)


@pytest.mark.parametrize("name", ["", "-a", "9a", "A", "a.b", "a$", "a\n", "ä", "x" * 33, "a b", "--help"])
def test_bad_names(name: str) -> None:
    with pytest.raises(Invalid, match="username"):
        rules.check_username(name)


@pytest.mark.parametrize("password", ["x", " ", "correct horse", "Größe", "a:b", "x" * 510, "\u2028", "-e"])
def test_good_passwords(password: str) -> None:
    rules.check_password(Secret(password))


@pytest.mark.parametrize(
    "password", ["", "a\nb", "a\rb", "a\tb", "a\0b", "\x7f", "\x85", "\ud800", "x" * 511, "ß" * 256]
)
def test_bad_passwords(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        rules.check_password(Secret(password))
    assert caught.value.field == "password"
    assert not password or password not in str(caught.value)


def test_groups() -> None:
    known = accounts()
    assert rules.parse_groups("", known) == frozenset()
    assert rules.parse_groups(" a ,, b,a", known) == {"a", "b"}
    for text in ("c", "a b", "a,-b", "a\n"):
        if text.strip() != "a":
            with pytest.raises(Invalid, match="groups"):
                rules.parse_groups(text, known)
    with pytest.raises(Invalid, match="more than"):
        rules.parse_groups(",".join(f"g{number}" for number in range(65)), known)


def test_shells() -> None:
    rules.check_shell("/bin/sh", accounts())
    for shell in ("", "/bin/bash", "sh", "/bin/sh\n"):
        with pytest.raises(Invalid, match="shell"):
            rules.check_shell(shell, accounts())


@pytest.mark.parametrize("home", ["/home/x", "/srv/a b", "/Größe"])
def test_good_homes(home: str) -> None:
    rules.check_home(home)


@pytest.mark.parametrize(
    "home", ["", "/", "home", "/a/../b", "/a/./b", "/a//b", "/a/", "/a:b", "/a\nb", "/a\0", "/" + "x" * 256, "//a"]
)
def test_bad_homes(home: str) -> None:
    with pytest.raises(Invalid, match="home"):
        rules.check_home(home)
