"""What a person at the command line is told."""


class ClientError(Exception):
    """Why a command could not do what it was asked for, in one sentence."""
