"""How deep a JSON value is nested."""

from typing import Any


def is_deeper(value: Any, limit: int) -> bool:
    """Whether arrays and objects stand in each other more than `limit` times; without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
        if not level:
            return False
    return True
