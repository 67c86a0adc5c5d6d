"""`uci`: OpenWrt's configuration, where its command is installed; arguments and answers are those of rpcd (uci.c)."""

import os
import re
from collections.abc import Mapping

from appliance.process.command import ENVIRONMENT
from appliance.process.errors import ProcessError
from appliance.process.run import ProcessRunner
from appliance.rpc.acl import READ, WRITE
from appliance.rpc.builtin.object import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    UNKNOWN_ERROR,
    Asker,
    Failed,
    text,
)

Value = str | list[str]

_TIMEOUT = 30.0
_OUTPUT_LIMIT = 8 << 20
_CONFIG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", re.ASCII)  # and never an option of the command
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}", re.ASCII)
_ANONYMOUS = re.compile(r"cfg[0-9a-f]{6}")

_QUOTED = r"'[^']*'(?:\\''[^']*')*"
_LINE = re.compile(rf"^(-?)([^\s='+-][^\s=']*?)([+-]?)(?:=({_QUOTED}(?: {_QUOTED})*|[^\n]*))?$", re.MULTILINE)
_ITEM = re.compile(_QUOTED)

_METHODS: Mapping[str, Mapping[str, object]] = {
    "get": {"config": "string", "section": "string", "option": "string", "type": "string"},
    "set": {"config": "string", "section": "string", "values": {}},
    "changes": {"config": "string"},
    "revert": {"config": "string"},
}


class UciObject:
    """Runs the command `uci`. A configuration takes a grant of the scope `uci` besides that of the method."""

    def __init__(self, runner: ProcessRunner, path: str = ENVIRONMENT["PATH"]) -> None:
        self._runner = runner
        self._path = path

    def methods(self) -> Mapping[str, Mapping[str, object]]:
        """See `BuiltinObject`."""
        folders = self._path.split(os.pathsep)
        return _METHODS if any(os.access(os.path.join(folder, "uci"), os.X_OK) for folder in folders) else {}

    async def call(self, method: str, arguments: Mapping[str, object], asker: Asker) -> object:
        """See `BuiltinObject`."""
        config = text(arguments, "config")
        if config is None and method == "changes":
            return {"changes": await self._all_changes(asker)}
        if config is None or _CONFIG.fullmatch(config) is None:
            raise Failed(INVALID_ARGUMENT)
        if not asker.grants.allows_config(config, READ if method in ("get", "changes") else WRITE):
            raise Failed(PERMISSION_DENIED)
        match method:
            case "get":
                return await self._get(config, arguments)
            case "set":
                return await self._set(config, arguments)
            case "changes":
                changes = parse_changes(await self._run("-q", "changes", config))
                return {"changes": changes.get(config, [])}
        await self._run("revert", config)
        return {}

    async def _get(self, config: str, arguments: Mapping[str, object]) -> object:
        section, option, kind = (text(arguments, name) for name in ("section", "option", "type"))
        sections = parse_show(await self._run("-q", "-X", "show", config))
        if section is None:
            return {"values": {name: each for name, each in sections.items() if kind in (None, each[".type"])}}
        if section not in sections:
            raise Failed(NOT_FOUND)
        if option is None:
            return {"values": sections[section]}
        if option not in sections[section]:
            raise Failed(NOT_FOUND)
        return {"value": sections[section][option]}

    async def _set(self, config: str, arguments: Mapping[str, object]) -> object:
        section, values = text(arguments, "section"), arguments.get("values")
        if section is None or _NAME.fullmatch(section) is None or not isinstance(values, dict) or not values:
            raise Failed(INVALID_ARGUMENT)
        commands = [command for name, value in values.items() for command in _commands(config, section, name, value)]
        if section not in parse_show(await self._run("-q", "-X", "show", config)):
            raise Failed(NOT_FOUND)
        # By its standard input: values may be secrets, and arguments can be read by everybody.
        await self._run("batch", stdin="".join(f"{command}\n" for command in commands))
        return {}

    async def _all_changes(self, asker: Asker) -> dict[str, list[list[str]]]:
        found = parse_changes(await self._run("-q", "changes"))
        return {config: changes for config, changes in found.items() if asker.grants.allows_config(config, READ)}

    async def _run(self, *arguments: str, stdin: str = "") -> str:
        environment = {**ENVIRONMENT, "PATH": self._path}
        try:
            finished = await self._runner.run(
                ["uci", *arguments],
                stdin=stdin.encode(),
                env=environment,
                timeout=_TIMEOUT,
                output_limit=_OUTPUT_LIMIT,
            )
        except ProcessError as error:
            raise Failed(UNKNOWN_ERROR) from error
        if finished.exit_code != 0 or finished.timed_out or finished.truncated:
            raise Failed(NOT_FOUND if finished.exit_code == 1 else UNKNOWN_ERROR)
        if stdin and finished.stderr:  # a batch ends with 0 whatever became of its lines
            raise Failed(INVALID_ARGUMENT)
        return finished.stdout.decode("utf-8", "replace")


def parse_show(output: str) -> dict[str, dict[str, object]]:
    """The sections in the output of `uci -X show CONFIG`, with their options, type and place."""
    sections: dict[str, dict[str, object]] = {}
    for _, path, _, value in _LINE.findall(output):
        _, section, *option = path.split(".", 2)
        if option:
            sections.setdefault(section, {})[option[0]] = _value(value)
        else:
            sections[section] = {
                ".anonymous": _ANONYMOUS.fullmatch(section) is not None,
                ".type": value,
                ".name": section,
                ".index": len(sections),
            }
    return sections


def parse_changes(output: str) -> dict[str, list[list[str]]]:
    """The changes by configuration in the output of `uci changes`, each as rpcd says it: `["set", "lan", …]`."""
    found: dict[str, list[list[str]]] = {}
    for minus, path, sign, value in _LINE.findall(output):
        config, *names = path.split(".", 2)
        action = "remove" if minus else {"": "set", "+": "list-add", "-": "list-del"}[sign]
        if action == "set" and len(names) == 1:
            action = "add"
        given = [] if minus else [str(_value(value))]
        found.setdefault(config, []).append([action, *names, *given])
    return found


def _value(text: str) -> Value:
    items = [item[1:-1].replace("'\\''", "'") for item in _ITEM.findall(text)]
    if not items:
        return text
    return items[0] if len(items) == 1 else items


def _commands(config: str, section: str, name: object, value: object) -> list[str]:
    """The lines of a batch that give an option its value."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise Failed(INVALID_ARGUMENT)
    place = f"{config}.{section}.{name}"
    if isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise Failed(INVALID_ARGUMENT)
        return [f"set {place}=''", f"delete {place}", *(f"add_list {place}={_quoted(each)}" for each in value)]
    if isinstance(value, bool):
        value = "1" if value else "0"
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        raise Failed(INVALID_ARGUMENT)
    return [f"set {place}={_quoted(value)}"]


def _quoted(value: str) -> str:
    if "\0" in value:
        raise Failed(INVALID_ARGUMENT)
    return "'" + value.replace("'", "'\\''") + "'"
