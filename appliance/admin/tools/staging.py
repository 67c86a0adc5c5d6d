"""What network.py and storage.py share: reading `key=value` files, writing rendered system files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

Unquote = Callable[[str], str]
KEY = re.compile(r"[a-z][a-z0-9_]*")
SIZE_LIMIT = 64 * 1024


class RenderError(Exception):
    """The settings cannot be turned into system files; one line says which value and why."""


@dataclass(frozen=True)
class SystemFile:
    """A file to be installed at `path` below the system's root, or a symbolic link to `link`."""

    path: str
    content: str = ""
    mode: int = 0o644
    link: str = ""


def read_pairs(path: str, unquote: Unquote) -> dict[str, str]:
    """The `key=value` lines of a file, values unquoted by the format's rule. Nothing is evaluated.

    Raises RenderError for a line of another form, a key that stands twice and a value with control
    characters.
    """
    with open(path, encoding="utf-8", errors="strict") as file:
        text = file.read(SIZE_LIMIT + 1)
    if len(text) > SIZE_LIMIT:
        raise RenderError("the file is too large")
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        if not equals or not KEY.fullmatch(key) or key in pairs:
            raise RenderError(f"line {number}: not key=value, or the key stands twice")
        pairs[key] = unquote(value.strip())
        if not pairs[key].isprintable():
            raise RenderError(f"{key}: control characters are refused")
    return pairs


def existing(root: str, path: str) -> str:
    """The text of a system file, empty where there is none."""
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def write_tree(folder: str, files: list[SystemFile]) -> None:
    """Write the files below `folder`, each with its permissions."""
    for file in files:
        path = os.path.join(folder, file.path)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if file.link:
            os.symlink(file.link, path)
            continue
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as opened:
            opened.write(file.content)
            os.fchmod(opened.fileno(), file.mode)
