"""
Who may call what: groups of the ACL files, and the patterns by which a user has them.

The format is that of OpenWrt's rpcd (session.c, `rpc_login_setup_acls`): a file holds groups, a group what it grants to
those who read and to those who write, by scope. Patterns are those of fnmatch(3), whose `*` crosses dots.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

Access = str
READ: Access = "read"
WRITE: Access = "write"

_REMEMBERED = 4096


class BadAcl(Exception):
    """A file is no ACL; the text says why."""


class Block(msgspec.Struct, frozen=True):
    """What a group grants to those who read, or to those who write: methods by object, and uci configurations."""

    ubus: tuple[tuple[str, tuple[str, ...]], ...] = ()
    uci: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True):
    """One group of one file."""

    read: Block = Block()
    write: Block = Block()


Acls = Mapping[str, Sequence[Group]]
"""The groups of all files by name; several files may add to one."""


class Rights(msgspec.Struct, frozen=True):
    """
    By which patterns somebody has groups: `read` their read blocks, `write` both.

    `!pattern` wins over all others of its list. What may not be read may not be written either, so one in `read` bars
    the group altogether.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def reads(self, group: str) -> bool:
        """Whether the read block of `group` is granted."""
        return not _barred(self.read, group) and (_named(self.read, group) or self._may_write(group))

    def writes(self, group: str) -> bool:
        """Whether the write block of `group` is granted."""
        return not _barred(self.read, group) and self._may_write(group)

    def _may_write(self, group: str) -> bool:
        return not _barred(self.write, group) and _named(self.write, group)

    def __add__(self, other: "Rights") -> "Rights":
        return Rights(self.read + other.read, self.write + other.write)


EVERYTHING = Rights(("*",), ("*",))


class Grants:
    """What somebody may call, given all groups and his rights."""

    def __init__(self, acls: Acls, rights: Rights) -> None:
        read = [block for name, groups in acls.items() if rights.reads(name) for block in _blocks(groups, READ)]
        write = [block for name, groups in acls.items() if rights.writes(name) for block in _blocks(groups, WRITE)]
        self._methods = [pattern for block in (*read, *write) for pattern in block.ubus]
        self._configs = {
            READ: tuple({config: None for block in read for config in block.uci}),
            WRITE: tuple({config: None for block in write for config in block.uci}),
        }
        self._known: dict[tuple[str, str], bool] = {}

    def allows(self, object: str, method: str) -> bool:
        """Whether a method may be called."""
        known = self._known.get((object, method))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[object, method] = any(
                fnmatchcase(object, pattern) and _named(methods, method) for pattern, methods in self._methods
            )
        return known

    def allows_config(self, config: str, access: Access) -> bool:
        """Whether a uci configuration may be read, or written."""
        return _named(self._configs[access], config)


def parse(raw: bytes) -> dict[str, Group]:
    """The groups of one file. Raises `BadAcl`."""
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAcl(f"no JSON ({error})") from None
    if not isinstance(content, dict):
        raise BadAcl("no object of groups")
    return {name: _group(name, value) for name, value in content.items()}


def _group(name: str, value: Any) -> Group:
    if not isinstance(value, dict):
        raise BadAcl(f"group {name!r} is no object")
    return Group(_block(name, value, READ), _block(name, value, WRITE))


def _block(name: str, group: dict[str, Any], access: Access) -> Block:
    scopes = group.get(access)
    if scopes is None:
        return Block()
    where = f"{access} of group {name!r}"
    if not isinstance(scopes, dict):
        raise BadAcl(f"{where} is no object")
    for scope, content in scopes.items():
        if not isinstance(content, dict | list):
            raise BadAcl(f"scope {scope!r} in {where} is neither an object nor a list")
    return Block(_methods(where, scopes.get("ubus"), access), _configs(where, scopes.get("uci"), access))


def _methods(where: str, scope: Any, access: Access) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`{"object pattern": ["method pattern", …]}`; a list of objects grants the method called `read` or `write`."""
    if isinstance(scope, list):
        return tuple((pattern, (access,)) for pattern in _texts(f"ubus in {where}", scope))
    return tuple((pattern, _texts(f"{pattern!r} in {where}", methods)) for pattern, methods in (scope or {}).items())


def _configs(where: str, scope: Any, access: Access) -> tuple[str, ...]:
    """A list of configurations, or an object that names for each `read`, `write` or `*`."""
    if isinstance(scope, list):
        return _texts(f"uci in {where}", scope)
    named = {config: _texts(f"{config!r} in {where}", uses) for config, uses in (scope or {}).items()}
    return tuple(config for config, uses in named.items() if _named(uses, access))


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadAcl(f"{where} is no list of texts")
    return tuple(value)


def _blocks(groups: Iterable[Group], access: Access) -> list[Block]:
    return [group.read if access == READ else group.write for group in groups]


def _named(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns if not pattern.startswith("!"))


def _barred(patterns: Iterable[str], name: str) -> bool:
    return any(pattern.startswith("!") and fnmatchcase(name, pattern[1:]) for pattern in patterns)
