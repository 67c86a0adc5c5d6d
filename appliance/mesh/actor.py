"""Who does something in the mesh."""

import msgspec


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A user (with the id of his row), a device (`identifier` says of which node), or nobody who is known.

    `address` is where the request came from.
    """

    user_id: int | None = None
    identifier: str | None = None
    email: str | None = None
    system_admin: bool = False
    address: str = ""
