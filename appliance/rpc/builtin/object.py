"""What an object of ours is: methods with signatures, and answers in the exit codes of ubus."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from appliance.rpc.acl import Grants

INVALID_ARGUMENT = 2
NOT_FOUND = 4
PERMISSION_DENIED = 6
UNKNOWN_ERROR = 9


class Asker(NamedTuple):
    """Who calls, and what he may."""

    username: str
    administers: bool
    grants: Grants


class Failed(Exception):
    """The call ends with a status of ubus (ubusmsg.h), as a plugin's exit code would."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class BuiltinObject(Protocol):
    """One object."""

    def methods(self) -> Mapping[str, Mapping[str, object]]:
        """Arguments by method, typed by example; none where the machine has nothing to answer from."""

    async def call(self, method: str, arguments: Mapping[str, object], asker: Asker) -> object:
        """The answer of one of the methods, for JSON. Raises `Failed`."""


def text(arguments: Mapping[str, object], name: str) -> str | None:
    """An argument that is a text, None where it is not given. Raises `Failed` for another type."""
    value = arguments.get(name)
    if value is not None and not isinstance(value, str):
        raise Failed(INVALID_ARGUMENT)
    return value
