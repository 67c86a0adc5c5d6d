"""The account files of other machines, as texts."""

from pathlib import Path

import pytest

from appliance.files import FileTooLarge
from appliance.host.errors import Unknown
from appliance.host.users import accounts as accounts_module
from appliance.host.users.accounts import Account, Password, read_accounts

TODAY = 20_000
HASH = "$y$j9T$salt$hash"


def etc(folder: Path, **files: str) -> Path:
    defaults = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n"}
    for name, content in {**defaults, **files}.items():
        (folder / name.replace("_", ".")).write_bytes(content.encode("utf-8", "surrogateescape"))
    return folder


def account(folder: Path, shadow: str) -> Account:
    """The user `ann`, with these fields of shadow(5) after the name."""
    passwd = "ann:x:1000:100:Ann:/home/ann:/bin/bash\n"
    return read_accounts(etc(folder, passwd=passwd, shadow=f"ann:{shadow}\n"), TODAY).by_name["ann"]


@pytest.mark.parametrize(
    ("field", "password", "locked"),
    [
        (HASH, Password.USABLE, False),
        ("abcdefghijklm", Password.USABLE, False),  # crypt(3) of old
        ("_abcdefgh", Password.USABLE, False),
        (f"!{HASH}", Password.LOCKED, True),
        (f"!!{HASH}", Password.LOCKED, True),
        ("", Password.EMPTY, False),
        ("!", Password.NONE, True),
        ("!!", Password.NONE, True),
        ("*", Password.NONE, True),
        ("!*", Password.NONE, True),
        ("*LK*", Password.NONE, True),
        ("x", Password.NONE, True),
    ],
)
def test_passwords(tmp_path: Path, field: str, password: Password, locked: bool) -> None:
    found = account(tmp_path, f"{field}:19000:0:99999:7:::")
    assert (found.password, found.is_locked) == (password, locked)
    assert found.may_log_in is (password is Password.USABLE)


@pytest.mark.parametrize(
    ("ageing", "expired", "outdated"),
    [
        ("19000:0:99999:7::", False, False),
        ("19000:0:99999:7::20001", False, False),
        ("19000:0:99999:7::20000", True, False),
        ("19000:0:99999:7::1", True, False),
        ("19000:0:99999:7::0", True, False),
        ("0:0:99999:7::", False, True),
        ("19000:0:1000:7::", False, False),
        ("18999:0:1000:7::", False, True),
        (":::::", False, False),
        ("x:x:x:x:x:x", False, False),
    ],
)
def test_days(tmp_path: Path, ageing: str, expired: bool, outdated: bool) -> None:
    found = account(tmp_path, f"{HASH}:{ageing}:")
    assert (found.expired, found.outdated) == (expired, outdated)
    assert found.may_log_in is not (expired or outdated)


def test_groups(tmp_path: Path) -> None:
    group = "users:x:100:\nsudo:x:27:ann,bob\naudio:x:29:ann\nbroken:x:ten:ann\nshort:x\n"
    passwd = "ann:x:1000:100::/home/ann:\nbob:x:1001:4711::/home/bob:/bin/sh\n"
    found = read_accounts(etc(tmp_path, passwd=passwd, group=group), TODAY)
    ann, bob = found.find("ann"), found.find("bob")
    assert (ann.group, sorted(ann.groups), ann.shell) == ("users", ["audio", "sudo"], "/bin/sh")
    assert (bob.group, sorted(bob.groups)) == ("4711", ["sudo"])
    assert found.groups == {"users", "sudo", "audio"}
    assert ann.is_administrator(frozenset({"sudo"}))
    assert ann.is_administrator(frozenset({"users"}))
    assert not ann.is_administrator(frozenset({"wheel"}))
    with pytest.raises(Unknown):
        found.find("nobody")


def test_lines_that_are_no_accounts(tmp_path: Path) -> None:
    passwd = (
        "root:x:0:0:root:/root:/bin/sh\n\n# comment:x:1:1:::\n+nis::::::\n-out::::::\n:x:5:5:::\nshort:x:6:6\n"
        "number:x:six:6:::\nroot:x:7:7:a second one:/:/bin/sh\nGr\udcfc\udcdfe:x:1002:100::/:\n"
    )
    found = read_accounts(etc(tmp_path, passwd=passwd), TODAY).by_name
    assert list(found) == ["root", "Gr\\xfc\\xdfe"]
    assert found["root"].uid == 0


def test_passwords_that_are_kept_in_passwd_itself(tmp_path: Path) -> None:
    passwd = f"ann:{HASH}:1000:100:::/bin/sh\nbob:*:1001:100:::/bin/sh\n"
    found = read_accounts(etc(tmp_path, passwd=passwd), TODAY).by_name
    assert (found["ann"].password, found["bob"].password) == (Password.USABLE, Password.NONE)


def test_shells_and_who_is_a_person(tmp_path: Path) -> None:
    login = "# UID_MIN 1\nUID_MINIMUM 2\n\tUID_MIN\t\t 500\nUID_MIN 600\n"
    shells = "# comment\n/bin/sh\n  /bin/bash\nzsh\n\n"
    passwd = "low:x:499:1:::\nhigh:x:500:1:::\nnobody:x:65534:1:::\n"
    found = read_accounts(etc(tmp_path, passwd=passwd, shells=shells, login_defs=login), TODAY)
    assert found.shells == {"/bin/sh", "/bin/bash"}
    assert found.uid_min == 500
    assert [found.is_system(each) for each in found.by_name.values()] == [True, False, True]


def test_a_machine_without_the_optional_files(tmp_path: Path) -> None:
    found = read_accounts(etc(tmp_path))
    assert (found.shells, found.uid_min) == (frozenset({"/bin/sh", "/bin/csh"}), 1000)  # getusershell(3)


def test_a_file_beyond_all_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "SIZE_LIMIT", 100)
    with pytest.raises(FileTooLarge):
        read_accounts(etc(tmp_path, passwd="x" * 101))
