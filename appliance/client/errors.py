"""What a person at the command line is told."""


class ClientError(Exception):
    """Why a command could not do what it was asked for, in one sentence."""


class Unreachable(ClientError):
    """The server cannot be reached, or takes nobody at present: what may be another time."""
