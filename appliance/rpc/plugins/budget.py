"""What all runs together may hold in memory."""


class Budget:
    """So many bytes, shared by who asks first."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Take `size` bytes; False where there are not as many, and then none are taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        self._left += size
