"""What can go wrong in the mesh, in words for whoever asked; the surface turns each kind into one status."""


class MeshError(Exception):
    """What was asked for cannot be done; the text says why."""


class Unacceptable(MeshError):
    """400: the request cannot be met as it is."""


class Denied(MeshError):
    """403: the caller sees the object and may not do this to it."""

    def __init__(self, text: str = "Permission denied") -> None:
        super().__init__(text)


class Missing(MeshError):
    """404: there is no such object, or the caller may not know of it."""


class Taken(MeshError):
    """409: it exists already, or the change would break a rule that others rely on."""


class Gone(MeshError):
    """410: it was there and has expired."""


class Invalid(MeshError):
    """422: a field's value makes no sense; the field, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class Overloaded(Exception):
    """503: more waits to be done than can be held; try again later."""


class ProviderUnavailable(Exception):
    """503: the log-in provider cannot be reached, or does not answer as a provider does."""


class ProviderRefused(Exception):
    """The log-in provider does not accept what it was sent, or its answer is not to be believed."""
