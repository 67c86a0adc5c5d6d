"""The Journal Export Format in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.journal.follow import export
from appliance.host.journal.follow.export import FIELD_LIMIT, MESSAGE_LIMIT, ExportParser, Record
from appliance.host.journal.output import NotAnExport
from tests.support.journal import BASE, record

_names = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True).filter(lambda name: name != "MESSAGE")
_fields = st.dictionaries(_names, st.one_of(st.binary(max_size=40), st.text(max_size=20)), max_size=4)
_messages = st.lists(st.one_of(st.binary(min_size=1, max_size=60), st.text(min_size=1, max_size=30)), max_size=3)


def parse(data: bytes, size: int) -> list[Record]:
    """What comes out when the data comes in pieces of `size`."""
    parser = ExportParser()
    return [found for at in range(0, len(data), size) for found in parser.feed(data[at : at + size])]


@given(st.lists(st.tuples(_fields, _messages), min_size=1, max_size=4), st.integers(1, 50))
def test_pieces_make_no_difference(entries: list[tuple[dict[str, bytes | str], list[bytes | str]]], size: int) -> None:
    raw = [
        record(BASE + n, {**fields, "MESSAGE": [_bytes(each) for each in texts]})
        for n, (fields, texts) in enumerate(entries)
    ]
    found = parse(b"".join(raw), size)
    assert [each.messages for each in found] == [[_bytes(text) for text in texts] for _, texts in entries]
    for each, (fields, _) in zip(found, entries, strict=True):
        assert not each.truncated
        assert {name: each.fields[name.encode()] for name in fields} == {n: _bytes(v) for n, v in fields.items()}


@pytest.mark.parametrize("size", [1 << 13, 1 << 16, 1 << 24])
@pytest.mark.parametrize("form", [b"x", b"\xff", b"\n"])
def test_long_values_are_cut(form: bytes, size: int) -> None:
    raw = record(BASE, {"MESSAGE": form * (MESSAGE_LIMIT + 1), "TAG": form * (FIELD_LIMIT + 1)})
    raw += record(BASE + 1, {"MESSAGE": form * MESSAGE_LIMIT, "TAG": form * FIELD_LIMIT})
    first, second = parse(raw, size)
    assert (first.messages, first.truncated) == ([form * MESSAGE_LIMIT], True)
    assert (second.messages, second.truncated) == ([form * MESSAGE_LIMIT], False)
    assert first.fields[b"TAG"] == second.fields[b"TAG"] == form * FIELD_LIMIT


def test_an_entry_with_many_messages_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MESSAGE_LIMIT", 100)
    (found,) = parse(record(BASE, {"MESSAGE": [b"y" * 40] * 1000}), 64)
    assert found.messages == [b"y" * 40, b"y" * 40, b"y" * 20]
    assert found.truncated


def test_the_first_of_several_values_counts() -> None:
    (found,) = parse(record(BASE, {"SYSLOG_PID": [b"1", b"2"]}), 1000)
    assert found.fields[b"SYSLOG_PID"] == b"1"


def test_nothing_is_held_of_a_value_of_any_length() -> None:
    parser = ExportParser()
    parser.feed(b"__CURSOR=c\nMESSAGE\n" + (1 << 40).to_bytes(8, "little"))
    for _ in range(64):
        parser.feed(b"\0" * (1 << 20))
    held = parser._kept
    assert len(held) <= MESSAGE_LIMIT + 1
    assert not parser._rest


@pytest.mark.parametrize(
    "raw", [b"x" * 100, b"\0" * 65, b"No journal files were found, which is a long line without the end"]
)
def test_what_is_no_export_is_refused(raw: bytes) -> None:
    with pytest.raises(NotAnExport):
        ExportParser().feed(raw)


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
