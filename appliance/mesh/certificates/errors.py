"""What is wrong with a certificate or a key."""


class BadCertificate(ValueError):
    """Bytes that are no certificate or key of Nebula's, or one that must not be trusted; the text says why."""
