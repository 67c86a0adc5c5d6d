"""Which of two places in the journal comes first, and whether they are one."""

from collections.abc import Mapping


def is_after(cursor: bytes, other: bytes) -> bool:
    """
    Tell whether the entry at `cursor` comes after that at `other`; the empty cursor stands before all entries.

    The rule is journalctl's own (sd-journal.c, `compare_locations`): by sequence number where one writer numbered both,
    else by the clock of the boot that both belong to, else by the time, else by a hash of the content.
    """
    if not other:
        return bool(cursor)
    if not cursor or cursor == other:
        return False
    one, two = _parts(cursor), _parts(other)
    for key, scope in ((b"i", b"s"), (b"m", b"b"), (b"t", None), (b"x", None)):
        if scope is None or one[scope] == two[scope]:
            first, second = int(one[key], 16), int(two[key], 16)
            if first != second:
                return first > second
    return False


def is_same(cursor: bytes, other: bytes) -> bool:
    """Tell whether both name one entry: journald numbers entries anew when it copies them from /run to /var."""
    return not is_after(cursor, other) and not is_after(other, cursor)


def _parts(cursor: bytes) -> Mapping[bytes, bytes]:
    """Its `s=`, `i=`, `b=`, `m=`, `t=` and `x=` (sd_journal_get_cursor(3))."""
    return {name: value for name, _, value in (part.partition(b"=") for part in cursor.split(b";"))}
