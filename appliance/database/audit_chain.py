"""The hash chain of the audit log: one text for one row, one hash for one text."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from appliance.database.errors import DatabaseError

GENESIS: Final = "0" * 64
"""The hash before the first row."""


class ChainBroken(DatabaseError):
    """The row `id` is not what was written, or not there."""

    def __init__(self, id: int) -> None:
        super().__init__(f"the audit log is broken at row {id}")
        self.id = id


def canonical(value: Any) -> str:
    """One text for one value: keys in order of their code points, no white space, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of all columns but the hash itself."""
    content = {name: value for name, value in row.items() if name != "hash"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()
