"""Changes the users file and keeps what else its author has written there, comments too."""

import json
import re
from pathlib import Path

import msgspec

from appliance.files import FileTooLarge, NotARegularFile, read_limited, write_atomic
from appliance.rpc.users_file import FILE_LIMIT, BadUsersFile, User, UsersFile, parse


def set_user(path: Path, name: str, changes: dict[str, str | list[str]]) -> None:
    """
    Give keys of `[user.NAME]` new values; the user is made where there is none. Blocking.

    Raises `BadUsersFile` where the file, before or after, is not what it should be, and OSError.
    """
    text = _text(path)
    before = parse(text.encode())
    frozen = {key: tuple(each) if isinstance(each, list) else each for key, each in changes.items()}
    user = msgspec.structs.replace(before.user.get(name, User()), **frozen)
    after = msgspec.structs.replace(before, user={**before.user, name: user})
    begin, end = _table(text, name)
    if begin < 0:
        lines = [*text.splitlines(), *([""] if text.strip() else []), f"[user.{_quoted_name(name)}]"]
        begin, end = len(lines), len(lines)
    else:
        lines = text.splitlines()
    for key, value in changes.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        found = next((at for at in range(begin, end) if re.match(rf"\s*{key}\s*=", lines[at])), None)
        if found is not None:
            lines[found] = line
        else:
            lines.insert(begin, line)
            end += 1
    _write(path, "\n".join([*lines, ""]), after)


def remove_user(path: Path, name: str) -> None:
    """Take `[user.NAME]` out. Blocking; raises `BadUsersFile`, `KeyError` where there is none, and OSError."""
    text = _text(path)
    before = parse(text.encode())
    rest = {other: user for other, user in before.user.items() if other != name}
    if name not in before.user:
        raise KeyError(name)
    begin, end = _table(text, name)
    lines = text.splitlines()
    if begin > 0:
        del lines[begin - 1 : end]
    _write(path, "\n".join([*lines, ""]), msgspec.structs.replace(before, user=rest))


def _text(path: Path) -> str:
    try:
        return read_limited(path, FILE_LIMIT).decode()
    except FileNotFoundError:
        return ""
    except (FileTooLarge, NotARegularFile, UnicodeDecodeError) as error:
        raise BadUsersFile(str(error)) from None


def _write(path: Path, text: str, expected: UsersFile) -> None:
    """Store the text, if it says what is expected: TOML can be written in ways that a change of lines does not meet."""
    if parse(text.encode()) != expected:
        raise BadUsersFile("the user's table is written in a way that only an editor can change")
    write_atomic(path, text.encode(), mode=0o600)


def _table(text: str, name: str) -> tuple[int, int]:
    """The lines of the user's table after its header, as a range of line numbers; -1 where there is none."""
    written = "|".join(re.escape(each) for each in (name, f'"{name}"', f"'{name}'"))
    header = re.compile(rf"\s*\[\s*user\s*\.\s*(?:{written})\s*\]\s*(?:#.*)?")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if header.fullmatch(line):
            end = next((at for at in range(number + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
            while end > number + 1 and not lines[end - 1].strip():
                end -= 1
            return number + 1, end
    return -1, -1


def _quoted_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
