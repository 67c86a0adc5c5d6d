"""The answer to "who is asking": one small value that every surface shares."""

from dataclasses import dataclass

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """Who sent a request, as its surface's authenticator found out.

    `kind` says how the caller proved it (`token`, `hmac`, `anonymous`, …), `name` whom the audit log shall name,
    `roles` what permissions look at, and `capabilities` what object rules inside a surface look at.
    """

    kind: str
    name: str
    roles: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    address: str = ""
    surface: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """What an endpoint asks of its caller. `role` None admits everybody, even without credentials."""

    name: str
    role: str | None

    @property
    def public(self) -> bool:
        """Whether no credentials are needed at all."""
        return self.role is None

    def admits(self, caller: Caller) -> bool:
        """Tell whether `caller` holds what this permission asks for."""
        return self.role is None or self.role in caller.roles


anyone = Permission("anyone", None)
reader = Permission("reader", "reader")
administrator = Permission("administrator", "administrator")
