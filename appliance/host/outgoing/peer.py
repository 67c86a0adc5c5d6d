"""Who is asked, and how it is named where it fails."""

from dataclasses import dataclass

import msgspec

from appliance.host.errors import Unavailable

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding another program's JSON raises; the last where it is nested a thousand times, wherever that stands."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What answers: its name as a sentence begins with it, and what its failures are raised as."""

    name: str
    error: type[Unavailable]

    def broke(self) -> Unavailable:
        """The connection ended in the middle."""
        return self.error(f"The connection to {self.name} broke")

    def broke_after_asking(self) -> Unavailable:
        """It ended, and nobody knows whether the request was heard."""
        return self.error(f"The connection to {self.name} broke; what was asked for may have been done")

    def was_silent(self, seconds: float) -> Unavailable:
        """No answer in time."""
        return self.error(f"{self.name} did not answer within {seconds:.0f} seconds")

    def said_too_much(self, limit: int) -> Unavailable:
        """More than `limit` bytes."""
        return self.error(f"{self.name} answered with more than {limit >> 10} KiB")

    def is_unintelligible(self, why: object) -> Unavailable:
        """An answer of another form than was expected."""
        return self.error(f"{self.name} answered what cannot be understood: {why}")
