"""What admin domain objects raise; the endpoints turn it into answers."""


class Refused(Exception):
    """Input or circumstances forbid what was asked; the text is for the client."""


class Missing(Exception):
    """What was asked for is not there."""
