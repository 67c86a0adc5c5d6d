"""What can go wrong with containers besides what can go wrong with everything."""

from appliance.host.errors import Unavailable


class RuntimeAbsent(Unavailable):
    """A container runtime is not there: nothing was asked of it."""


class RuntimeUnusable(RuntimeAbsent):
    """A container runtime is there, but cannot be asked; the text says what is missing."""


class NoRuntime(Unavailable):
    """None of the container runtimes is there."""


class RuntimeFailed(Unavailable):
    """A container runtime does not answer, or answers what is of no use."""


class EngineError(Unavailable):
    """Docker does not answer, or answers what is of no use."""


class EngineAbsent(EngineError, RuntimeAbsent):
    """Docker is not there: nothing was asked of it."""
