"""journalctl's output, cut into pieces anywhere."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.journal.output import Consumer, Cursors, Lines, NotAnExport


class Producer:
    stopped = 0

    def stopProducing(self) -> None:
        self.stopped += 1


def feed(consumer: Consumer, text: bytes, cuts: list[int]) -> Producer:
    producer: Any = Producer()
    consumer.registerProducer(producer, True)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        if not consumer.enough:
            consumer.write(text[begin:end])
    consumer.unregisterProducer()
    return producer  # type: ignore[no-any-return]


def export(count: int) -> bytes:
    form = b"__CURSOR=s=1;i=%d\n__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID=0123\n\n"
    return b"".join(form % (number, 1000 + number) for number in range(count, 0, -1))


CUTS = st.lists(st.integers(0, 5000), max_size=30)


@given(st.integers(0, 30), CUTS)
def test_cursors(count: int, cuts: list[int]) -> None:
    found: list[bytes] = []
    producer = feed(Cursors(found.append), export(count), cuts)
    assert found == [b"s=1;i=%d" % number for number in range(count, 0, -1)]
    assert producer.stopped == 0


@given(st.integers(1, 30), CUTS, st.integers(0, 1040))
def test_cursors_end_before_the_time_asked_for(count: int, cuts: list[int], since: int) -> None:
    found: list[bytes] = []
    producer = feed(Cursors(found.append, since), export(count), cuts)
    assert found == [b"s=1;i=%d" % number for number in range(count, 0, -1) if 1000 + number >= since]
    assert producer.stopped == (since > 1001)


@pytest.mark.parametrize("text", [b"x" * 70_000, b"no cursor\n\n"])
def test_output_of_another_form(text: bytes) -> None:
    with pytest.raises(NotAnExport):
        Cursors(lambda cursor: None).write(text)


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=20), st.integers(0, 25), CUTS)
def test_lines(lines: list[bytes], skip: int, cuts: list[int]) -> None:
    consumer = Lines(skip, 10_000)
    feed(consumer, b"".join(line + b"\n" for line in lines), cuts)
    assert consumer.content() == b"".join(line + b"\n" for line in lines[skip:])
    assert not consumer.enough


def test_too_much() -> None:
    consumer = Lines(1, 10)
    producer = feed(consumer, b"a line that is skipped\n" + b"0123456789" + b"x", [])
    assert consumer.enough
    assert producer.stopped == 1
    assert consumer.content() == b""
