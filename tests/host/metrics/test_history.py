"""The ring of the last hour."""

from typing import Any, cast

import pytest

from appliance.host.metrics import history
from appliance.host.metrics.history import INTERVAL, MINUTES, History
from appliance.host.metrics.model import Sample


class At:
    """A sample of which only the moment matters."""

    def __init__(self, at: float) -> None:
        self.at = at


def filled(count: int, size: int = 1) -> History:
    """A history of `count` samples, INTERVAL apart."""
    found = History(lambda sample: {"cpu": b"x" * size, "load": b"%d" % sample.at})
    for number in range(count):
        found.add(cast(Sample, cast(Any, At(number * INTERVAL))))
    return found


def test_it_is_told_from_a_moment_on() -> None:
    assert filled(10).since("load", 70) == [b"70", b"80", b"90"]
    assert filled(10).since("memory", 0) == []


def test_it_keeps_an_hour() -> None:
    kept = filled(1000).since("load", 0)
    assert len(kept) == MINUTES * 60 // INTERVAL
    assert kept[-1] == b"%d" % (999 * INTERVAL)


def test_it_keeps_less_of_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BYTES_LIMIT", 1000)
    found = filled(100, 90)
    assert len(found.since("cpu", 0)) == 11
    assert len(found.since("load", 0)) == 100
