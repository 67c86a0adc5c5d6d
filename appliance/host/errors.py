"""What can go wrong when the machine is asked or changed, in words for whoever asked.

The surface turns each kind into one status: `Invalid` 400, `Forbidden` 403, `Unknown` 404, `Conflict` 409,
`Unavailable` 503.
"""


class HostError(Exception):
    """What was asked for cannot be done; the text says why and holds no secret and no tool's raw output."""


class Invalid(HostError):
    """A value is not acceptable: the field that holds it, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Forbidden(HostError):
    """Not for this user."""


class Unknown(HostError):
    """What was named does not exist."""


class Conflict(HostError):
    """It exists already, is in use, or the change would do harm."""


class Unavailable(HostError):
    """The tool, service or kernel feature it takes is not there, or did not answer."""
