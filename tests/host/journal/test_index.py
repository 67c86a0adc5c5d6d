"""The index against the plain list of all cursors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.host.journal import index as module
from appliance.host.journal.files import JournalFile
from appliance.host.journal.index import MAX_ANCHORS, Index


def cursor(number: int) -> bytes:
    return b"s=%032x;i=%d" % (7, number)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(0, 700), st.integers(1, 40))
def test_every_entry_is_found(older: int, newer: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_ANCHORS", most)
        index = Index({})
        for number in range(older):
            index.add_older(cursor(-number))
        for number in range(1, newer + 1):
            index.add_newer(cursor(number))
    assert index.total == older + newer
    assert len(index._anchors) <= most
    assert (index.oldest_cursor, index.newest_cursor) == (cursor(1 - older), cursor(newer))
    for offset in range(index.total):
        found, skip = index.place(offset)
        assert cursor(newer - offset) == cursor(int(found.rpartition(b"=")[2]) - skip)
        assert 0 <= skip < index._step


def test_a_long_journal_costs_little() -> None:
    index = Index({})
    for number in range(300_000):
        index.add_older(cursor(-number))
    assert MAX_ANCHORS / 2 <= len(index._anchors) <= MAX_ANCHORS
    assert index.place(299_999)[1] < 300_000 / MAX_ANCHORS * 4


A = JournalFile(10, bytes(15) + b"\x07")
B = JournalFile(10, bytes(15) + b"\x08")


@pytest.mark.parametrize(
    ("now", "follows"),
    [
        ({b"a": A, b"b": B}, True),
        ({b"a": JournalFile(12, A.sequence), b"b": B}, True),
        ({b"a": A, b"b": JournalFile(12, B.sequence)}, False),  # another writer than that of the newest entry
        ({b"a": A}, False),
        ({b"b": B}, False),
        ({b"a": A, b"b": B, b"c": A}, False),
        ({}, False),
    ],
)
def test_what_new_entries_can_be_counted_on_top(now: dict[bytes, JournalFile], follows: bool) -> None:
    index = Index({b"a": A, b"b": B})
    index.add_older(cursor(1))
    assert index.follows(now) is follows


def test_an_empty_index_is_made_anew_with_the_first_entries() -> None:
    index = Index({b"a": A})
    assert index.follows({b"a": A})
    assert not index.follows({b"a": JournalFile(11, A.sequence)})
