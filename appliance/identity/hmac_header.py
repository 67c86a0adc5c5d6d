"""The `Authorization: HMAC-SHA256` header: signs method, path, query, time, nonce and body, so no replay helps.

    Authorization: HMAC-SHA256 timestamp=1763887740, nonce=4f0c…, digest=<sha256 of the body>, signature=<hex>

The signature is HMAC-SHA256 over seven lines joined by a line feed: `HMAC-SHA256`, method, path and query as sent (the
query without its `?`, an empty line where there is none), timestamp (seconds since the epoch), nonce (16–64 of
`A-Za-z0-9_-`) and digest (lower-case hex).
"""

import re
from dataclasses import dataclass

SCHEME = "HMAC-SHA256"
ALLOWED_SKEW = 300
"""Seconds a timestamp may differ from our clock; nonces are remembered for twice as long."""

_HEADER = re.compile(
    r"HMAC-SHA256 +timestamp=(?P<timestamp>[0-9]{1,12}), *nonce=(?P<nonce>[A-Za-z0-9_-]{16,64}), *"
    r"digest=(?P<digest>[0-9a-f]{64}), *signature=(?P<signature>[0-9a-f]{64}) *"
)


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """The header's fields."""

    timestamp: int
    nonce: str
    digest: str
    signature: str

    def message(self, method: str, path: bytes, query: bytes) -> bytes:
        """What the signature is made over."""
        lines = [SCHEME, method, path.decode("latin-1"), query.decode("latin-1"), str(self.timestamp), self.nonce]
        return "\n".join([*lines, self.digest]).encode("latin-1")

    def is_timely(self, now: float) -> bool:
        """Whether the timestamp is within the allowed skew of `now` (seconds since the epoch)."""
        return abs(now - self.timestamp) <= ALLOWED_SKEW


def parse(value: str) -> SignedHeader | None:
    """Parse the header's value; None where it is not of this scheme or malformed."""
    found = _HEADER.fullmatch(value)
    if found is None:
        return None
    return SignedHeader(int(found["timestamp"]), found["nonce"], found["digest"], found["signature"])
