"""The users file: what it may hold, and changing it without losing what else stands there."""

from pathlib import Path

import pytest

from appliance.rpc.acl import EVERYTHING, Rights
from appliance.rpc.identities import rights_of
from appliance.rpc.users_edit import remove_user, set_user
from appliance.rpc.users_file import BadUsersFile, User, parse, read

TEXT = """# Who may what.

[user.ann]   # on the phone
password_hash = "scrypt:1:1:1$a$b"
read = ["dns", "!logs"]

[user."bob@example"]
password_hash = "scrypt:1:1:1$c$d"

[user.carl]
write = ["dns"]

[group.operators]
write = ["*"]
"""


def test_what_the_file_says() -> None:
    found = parse(TEXT.encode())
    assert found.user["ann"] == User("scrypt:1:1:1$a$b", ("dns", "!logs"))
    assert found.user["carl"].password_hash is None
    assert found.group["operators"].rights == Rights((), ("*",))
    assert found.user["ann"].credential != found.user["bob@example"].credential


@pytest.mark.parametrize(
    "text",
    [
        "[user.ann",
        "[user.ann]\npassword = 'x'",
        "[user.ann]\nread = 'dns'",
        "[users.ann]\nread = []",
        "user = 5",
        "[user.\"a b\"]\npassword_hash = 'x'",
        "[user.\"-x\"]\npassword_hash = 'x'",
        "[group.g]\npassword_hash = 'x'",
    ],
)
def test_what_it_may_not_say(text: str) -> None:
    with pytest.raises(BadUsersFile):
        parse(text.encode())


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read(tmp_path / "none.toml") == parse(b"")


def test_rights_are_those_of_the_user_and_of_the_groups() -> None:
    file = parse(TEXT.encode())
    assert rights_of(file, "carl", {"operators", "others"}) == Rights((), ("dns", "*"))
    assert rights_of(file, "ann") == Rights(("dns", "!logs"))
    assert rights_of(file, "unknown", {"others"}) == Rights()
    assert rights_of(file, "ann", administers=True) == EVERYTHING == rights_of(file, "root")


def test_changing_a_user_keeps_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text(TEXT)
    set_user(path, "ann", {"password_hash": "scrypt:new", "write": ["a", 'b"c']})
    text = path.read_text()
    assert text.startswith("# Who may what.\n\n[user.ann]   # on the phone\n")
    assert parse(text.encode()).user["ann"] == User("scrypt:new", ("dns", "!logs"), ("a", 'b"c'))
    assert path.stat().st_mode & 0o777 == 0o600
    set_user(path, "bob@example", {"read": ["x"]})
    set_user(path, "dora.x", {"password_hash": "h"})
    remove_user(path, "ann")
    found = parse(path.read_text().encode())
    assert set(found.user) == {"bob@example", "carl", "dora.x"}
    assert found.user["bob@example"] == User("scrypt:1:1:1$c$d", ("x",))
    assert found.group == parse(TEXT.encode()).group


def test_the_first_user_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    set_user(path, "ann", {"password_hash": "h", "read": []})
    assert path.read_text() == '[user.ann]\nread = []\npassword_hash = "h"\n'


@pytest.mark.parametrize(
    "text", ["user.ann.read = ['x']\n", "[user]\nann = { read = ['x'] }\n", "[user.ann]\nread = [\n  'x',\n]\n"]
)
def test_what_only_an_editor_can_change_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text)
    with pytest.raises(BadUsersFile):
        set_user(path, "ann", {"read": ["y"]})
    assert path.read_text() == text


def test_removing_who_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        remove_user(tmp_path / "users.toml", "ann")
