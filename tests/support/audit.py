"""What the audit log holds."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def audited(state: Path, action: str) -> list[tuple[Any, ...]]:
    """Actor kind and name, object, outcome and details of each entry for an action, the oldest first."""
    with closing(sqlite3.connect(state / "appliance.db")) as connection:
        return connection.execute(
            "SELECT actor_kind, actor_name, object, outcome, details FROM audit WHERE action = ? ORDER BY id", (action,)
        ).fetchall()
